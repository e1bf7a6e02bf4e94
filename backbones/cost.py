"""What a network costs: its parameters, and the floating-point operations of one pass."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(network: nn.Module, *inputs: Any) -> dict[str, int]:
    """`parameters`, and `flops` of a pass in evaluation mode: two a multiply-add, as torch counts them.

    Matrix products, convolutions and attention count; norms, activations and sums do not. `inputs` are tensors on the
    meta device: nothing is computed.
    """
    # torch's counter misses fused attention on a CPU; on the meta device attention is taken apart.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deepcopy(network).to("meta").eval()(*inputs)
    return {"parameters": sum(p.numel() for p in network.parameters()), "flops": int(counter.get_total_flops())}
