"""Context between slices: a second encoder whose tokens are the slices of a series.

Slice head and series encoder are one network, trained in one go on the head half (docs/adr/0004-context-between-
slices.md). Attention knows how many millimetres lie between two slices, not their numbers: a slice that is missing
leaves its gap, and a series may have any length.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vit.encoder import AnyHead, blocks, first_weights
from vit.parameters import Context

STEP_MM = 5.0  # of attention's distances; head CT has 5.0–5.7 mm between slices
Rows = npt.NDArray[np.int64]


class Slots(NamedTuple):
    """Where n slices lie in a batch of N series, padded to L places."""

    place: Tensor  # n, int64: series · L + place in it, of each slice
    position: Tensor  # N×L float32: mm along the slice normal; anything where there is no slice
    present: Tensor  # N×L bool

    def to(self, device: torch.device) -> "Slots":
        return Slots(*(part.to(device, non_blocking=True) for part in self))


class SequenceHead(AnyHead):
    """Maps of n slices and their slots → logits (n×outputs), each seen in its series.

    `slices`: a slice head, the classifying end of which is dropped. Learned biases of attention, one for each head and
    each distance in steps of STEP_MM up to ±`reach`, stand for position embeddings (Raffel et al., arXiv 1910.10683,
    section 2.1, with distances in millimetres).
    """

    def __init__(self, slices: AnyHead, context: Context, outputs: int) -> None:
        super().__init__()
        self.slices, self.reach, self.outputs = slices, context.reach, outputs
        self.channels, self.grid, self.width = slices.channels, slices.grid, context.dim
        self.undecayed = ("distance.weight", *(f"slices.{name}" for name in slices.undecayed))
        slices.classify = nn.Identity()
        self.embed = nn.Linear(slices.width, context.dim)
        self.drop = nn.Dropout(context.dropout)
        self.distance = nn.Embedding(2 * context.reach + 1, context.heads)
        self.blocks = blocks(context)
        self.norm = nn.LayerNorm(context.dim, eps=1e-6)
        self.classify = nn.Linear(context.dim, outputs)
        for part in (self.embed, self.blocks, self.classify):
            first_weights(part)
        nn.init.trunc_normal_(self.distance.weight, std=0.02)

    def forward(self, *inputs: Tensor) -> Tensor:
        """`inputs`: the maps, then the three parts of their Slots."""
        *maps, place, position, present = inputs
        found = self.drop(self.embed(self.slices(*maps)))
        x = found.new_zeros(present.numel(), found.shape[1]).index_copy(0, place, found).unflatten(0, present.shape)
        mask = self._mask(position, present)
        for block in self.blocks:
            x = block(x, attn_mask=mask)
        logits: Tensor = self.classify(self.norm(x))
        return logits.flatten(0, 1).index_select(0, place)

    def _mask(self, position: Tensor, present: Tensor) -> Tensor:
        """What is added to attention (N×heads×L×L; asked by rows, answered by columns): minus infinity: no slice."""
        steps = ((position[:, None, :] - position[:, :, None]) / STEP_MM).round().clamp(-self.reach, self.reach)
        bias = self.distance(steps.long() + self.reach).permute(0, 3, 1, 2)
        return bias.masked_fill(~present[:, None, None, :], -torch.inf)


def series_rows(series: Sequence[str], position: npt.NDArray[np.float32]) -> list[Rows]:
    """Rows of each series, from low to high; slices at one position in the order of the rows."""
    _, number = np.unique(np.asarray(series), return_inverse=True)
    order = np.lexsort((position, number))
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)


def cut(series: Sequence[Rows], length: int) -> list[Rows]:
    """Series longer than `length` in as few and as equal parts as can be."""
    return [part for rows in series for part in np.array_split(rows, -(-len(rows) // length))]


def arrange(series: Sequence[Rows], position: npt.NDArray[np.float32]) -> tuple[Rows, Slots]:
    """The rows of some series one after another, and where they lie in a batch padded to the longest."""
    lengths = np.array([len(rows) for rows in series])
    present = np.arange(lengths.max()) < lengths[:, None]
    rows = np.concatenate(list(series))
    positions = np.zeros(present.shape, np.float32)
    positions[present] = position[rows]
    place = np.flatnonzero(present)
    return rows, Slots(torch.from_numpy(place), torch.from_numpy(positions), torch.from_numpy(present))


def chunks(series: Sequence[Rows], slices: int) -> Iterator[list[Rows]]:
    """As many series at a time as have `slices` slices together, but at least one."""
    some: list[Rows] = []
    for rows in series:
        if some and sum(map(len, some)) + len(rows) > slices:
            yield some
            some = []
        some.append(rows)
    if some:
        yield some
