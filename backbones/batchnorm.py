"""A CNN whose BatchNorm statistics are those of CT, and all else as it was: adaptation without a label."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from backbones.augment import to_input
from backbones.feature_cnn import check_stage, save_weights
from backbones.parameters import Cnn
from backbones.scaling import scale_of
from backbones.start import Start, start_cnn
from corpus.card import write_card
from corpus.images import Images
from settings.errors import BadArtifact, BadParameter
from training.precision import Decisions
from training.ranks import mean_buffers, my_rows

if TYPE_CHECKING:
    from accelerate import Accelerator


def match_statistics(
    images: Images,
    rows: npt.NDArray[np.int64],
    cnn: Cnn,
    start: Start,
    batch: int,
    seed: int,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> None:
    """Estimate the statistics anew on these slices, write the artifact ("cnn"; its logits mean nothing).

    Raises BadParameter for a CNN without BatchNorm and BadArtifact when there is no slice.
    """
    if not len(rows):
        raise BadArtifact("split: the CNN half has no slice; check split_ct's shares and rerun split-ct")
    check_stage(cnn.architecture, cnn.stage, cnn.side)
    model, eps = start_cnn(cnn.architecture, 1, start, seed, keep_classifier=False)
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise BadParameter(f"trained_on: {cnn.architecture} has no BatchNorm; choose ct or nothing")
    model = model.to(accelerator.device, memory_format=decisions.memory_format)  # type: ignore[call-overload]
    shuffled = np.random.default_rng(seed).permutation(rows)  # slices of one series side by side make odd batches
    mine = shuffled[my_rows(len(rows), accelerator)]
    each = max(1, batch // accelerator.num_processes)

    def batches() -> Iterator[torch.Tensor]:
        for at in range(0, len(mine), each):
            pixels = torch.from_numpy(images.read_windows(mine[at : at + each])).to(accelerator.device)
            yield to_input(pixels, cnn.side).contiguous(memory_format=decisions.memory_format)

    with decisions.autocast():
        update_bn(batches(), model)
    mean_buffers(accelerator, [model])
    if accelerator.is_main_process:
        save_weights(model, out)
        write_card(
            out,
            "cnn",
            architecture=cnn.architecture,
            outputs=1,
            side=cnn.side,
            **scale_of(model),
            batchnorm_eps=eps,
            classes=[],
            batchnorm_slices=len(rows),
        )
    accelerator.wait_for_everyone()
