"""What a head looked at: how far each answer falls when one place of what it reads is made ordinary.

Occlusion (Zeiler and Fergus, arXiv 1311.2901, section 4.2), not of the photo but of the frozen CNNs' maps side by side,
or of a pure ViT's pixels: a place is replaced, in all maps at once, by its mean over reference slices. It asks the head
itself, where attention weights need not say what an answer hangs on (Jain and Wallace, arXiv 1902.10186). A place of a
map has seen more of the slice than lies under it: a picture of this is as coarse as the grid, and coarser.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.precision import Decisions
from training.ranks import gather_rows, my_rows
from vit.encoder import AnyHead
from vit.head import Head
from vit.inputs import Inputs
from vit.sequence import SequenceHead, arrange, series_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

Rows = npt.NDArray[np.int64]
MOST = 7  # places along a side, as the paper's maps have: each is a network pass


def places(head: AnyHead, inputs: Inputs) -> tuple[int, int] | None:
    """Rows and columns of the places to occlude: a transformer's tokens or the coarsest map's positions, MOST a side.

    None where there is no choice, as for a mean of logits.
    """
    inner = head.slices if isinstance(head, SequenceHead) else head
    if isinstance(inner, Head):
        patch = inner.embed.kernel_size
        grid = (inner.grid[0] // int(patch[0]), inner.grid[1] // int(patch[1]))
    else:
        rows, columns = zip(*(source["grid"] for source in inputs.sources), strict=True)
        grid = (min(rows), min(columns))
    return (min(grid[0], MOST), min(grid[1], MOST)) if grid != (1, 1) else None


def occlusion(
    head: AnyHead,
    inputs: Inputs,
    rows: Rows,
    reference: Rows,
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """By how much each logit of each row falls when a place is occluded (n×outputs×h×w); all on every rank.

    `reference`: rows whose mean at a place stands in for it. `head` must be on the device and have `places`. A head
    with context sees the neighbours as they are. One network pass for each place of each row, `batch` at once.
    """
    grid = places(head, inputs)
    assert grid is not None, "the caller asked for the places"
    head.eval()
    hidden = torch.eye(grid[0] * grid[1], dtype=torch.bool, device=accelerator.device).view(-1, *grid)
    hidden = torch.cat([torch.zeros_like(hidden[:1]), hidden])  # first nothing, then one place after the other
    usual = _mean(inputs, reference, batch, accelerator, decisions)
    around = _neighbours(head, inputs)
    found = []
    for row in rows[my_rows(len(rows), accelerator)].tolist():
        near, position = around(row)
        at = int(np.flatnonzero(near == row)[0])
        seen = inputs.on_device(inputs.read(near), accelerator.device, decisions)
        logits = []
        for some in torch.split(hidden, max(1, batch // len(near))):
            count = len(some)
            x = [_occluded(part, mean, some, at) for part, mean in zip(seen, usual, strict=True)]
            slots = [] if position is None else arrange([np.arange(len(near))] * count, position)[1]
            with torch.inference_mode(), decisions.autocast():
                answer: Tensor = head(*x, *(slot.to(accelerator.device) for slot in slots))
            logits.append(answer.float().view(count, len(near), -1)[:, at])
        every = torch.cat(logits)
        found.append((every[:1] - every[1:]).T.reshape(-1, *grid))
    return gather_rows(torch.stack(found), len(rows), accelerator)


def _neighbours(head: AnyHead, inputs: Inputs) -> Callable[[int], tuple[Rows, npt.NDArray[np.float32] | None]]:
    """Of a row the rows that the head reads with it, and their positions in mm; None where slices stand alone."""
    if not isinstance(head, SequenceHead):
        return lambda row: (np.array([row]), None)
    series, position = inputs.places()
    of_row = {int(row): whole for whole in series_rows(series, position) for row in whole}
    return lambda row: (of_row[row], position[of_row[row]])


def _mean(inputs: Inputs, rows: Rows, batch: int, accelerator: "Accelerator", decisions: Decisions) -> list[Tensor]:
    """Mean over rows of everything that the head reads (each C×h×w)."""
    total: list[Tensor] = []
    for start in range(0, len(rows), batch):
        some = inputs.on_device(inputs.read(rows[start : start + batch]), accelerator.device, decisions)
        sums = [part.sum(dim=0) for part in some]
        total = [a + b for a, b in zip(total, sums, strict=True)] if total else sums
    return [part / len(rows) for part in total]


def _occluded(part: Tensor, mean: Tensor, hidden: Tensor, at: int) -> Tensor:
    """Copies of `part` (m×C×H×W), one for each of `hidden` (n×h×w), in each of which slice `at` is occluded (n·m×…)."""
    height, width = part.shape[2:]
    rows, columns = (torch.arange(size, device=part.device) * cells // size
                     for size, cells in ((height, hidden.shape[1]), (width, hidden.shape[2])))  # fmt: skip
    copies = part.expand(len(hidden), *part.shape).clone()
    mask = hidden[:, rows][:, :, columns].unsqueeze(1)
    copies[:, at] = torch.where(mask, mean, part[at])
    return copies.flatten(0, 1)
