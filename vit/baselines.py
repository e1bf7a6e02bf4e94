"""What a transformer over maps must beat: a linear layer on their means, and no head at all."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vit.encoder import AnyHead


class PooledLinear(AnyHead):
    """Maps (each N×C_i×h_i×w_i float, of any grids) → logits (N×outputs): the mean over each map, one linear layer.

    What a CNN's own classifier does, but for many and fitted on the head half.
    """

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.width = self.channels = sum(channels)
        self.grid, self.undecayed = (1, 1), ()
        self.classify = nn.Linear(self.width, outputs)

    def forward(self, *maps: Tensor) -> Tensor:
        logits: Tensor = self.classify(torch.cat([part.mean((2, 3)) for part in maps], dim=1))
        return logits


class MeanLogits(AnyHead):
    """Logits of the CNNs' own classifiers (each N×outputs×1×1) → their mean (N×outputs): an ensemble, untrained."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.grid, self.undecayed = sum(channels), (1, 1), ()

    def forward(self, *logits: Tensor) -> Tensor:
        return torch.stack(logits).mean(0).flatten(1)
