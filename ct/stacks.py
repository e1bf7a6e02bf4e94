"""The slices of one series as a model takes them that learnt on thicker ones: thin ones are averaged on the normal."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ct.dicom import Encoding, Refused, Slice
from ct.series import SAME_PLACE

TRAINED_MM = 5.1  # between the slices of RSNA's series; median
TRAINED_RANGE = (5.0, 5.7)  # mm; 5th and 95th percentile
FINE = Encoding(slope=1 / 8, intercept=0.0, bits=16, signed=True)  # of means: steps of 0.125 HU, up to 4095 HU
SAME_SIZE = 1e-3  # of pixel spacings, relative, that count as one: half a pixel over 512
Refuse = Callable[[int, Refused], None]  # told of a row that cannot be used, and why


class Size(NamedTuple):
    """What slices must have in common to be averaged."""

    rows: int
    columns: int
    pixel_spacing: tuple[float, float] | None  # mm


class Part(NamedTuple):
    """A slice for the model."""

    rows: tuple[int, ...]  # of the series, that it was made of; the one it has most of first
    position: float  # mm along the normal; nan of a lone slice without a place
    slice: Slice


class Slab(NamedTuple):
    """A thick slice that is to be averaged."""

    position: float  # of its middle, mm
    shares: dict[int, float]  # row of the stack → how many mm of the slab it stands for


def is_thin(spacing: float) -> bool:
    """Whether slices so many mm apart are to be averaged; less than 1.5 of them in a slab would only be blurred."""
    return spacing <= TRAINED_MM / 1.5 + SAME_PLACE


def is_outside(spacing: float) -> bool:
    """Whether slices so many mm apart lie closer, or further apart, than those that were learnt from."""
    return not TRAINED_RANGE[0] - SAME_PLACE <= spacing <= TRAINED_RANGE[1] + SAME_PLACE


def plan_slabs(position: npt.NDArray[np.float64]) -> list[Slab]:
    """Slabs of TRAINED_MM, side by side over a stack; `position`: of its slices (n ≥ 1, mm), ascending.

    A slice stands for what is nearer to it than to any other, up to half of TRAINED_MM on either side; slices at one
    position share it. A slab less than half of which is covered is left out: slices are missing there.
    """
    new = np.diff(position, prepend=-np.inf) > SAME_PLACE
    place, middles = np.cumsum(new) - 1, position[new]
    halves = (np.diff(middles) / 2).clip(max=TRAINED_MM / 2)
    ends = halves if len(halves) else np.array([TRAINED_MM / 2])
    low = middles - np.concatenate([ends[:1], halves])
    high = middles + np.concatenate([halves, ends[-1:]])
    count = max(1, round((high[-1] - low[0]) / TRAINED_MM))
    start = (low[0] + high[-1] - count * TRAINED_MM) / 2
    each = np.bincount(place)
    slabs = []
    for edge in start + TRAINED_MM * np.arange(count):
        covered = np.minimum(high, edge + TRAINED_MM) - np.maximum(low, edge)
        shares = (covered / each)[place]
        rows = np.flatnonzero(shares > 1e-6)
        if covered.clip(0).sum() >= TRAINED_MM / 2:
            slabs.append(Slab(float(edge + TRAINED_MM / 2), {int(row): float(shares[row]) for row in rows}))
    return slabs


def usual_size(sizes: Iterable[Size]) -> Size:
    """The size that the most have, of pixel spacings that are all but equal too; of equally many the first."""
    counts = Counter(sizes)
    return max(counts, key=lambda size: sum(count for other, count in counts.items() if _is_same(size, other)))


def average(slabs: list[Slab], slices: Iterable[tuple[int, Slice]], size: Size, refuse: Refuse) -> Iterator[Part]:
    """The mean of each slab in Hounsfield units, weighted by its shares; `slices`: rows, ascending, and their slices.

    Only slabs that are under way are in memory. Slices of another size than `size` are refused. A slab of which less
    than half is there, since slices could not be read, is left out. Slices that are in no mean are refused.
    """
    waiting, open_ = iter(slabs), list[_Open]()
    coming = next(waiting, None)
    unused = set[int]()

    def closed(slab: _Open) -> Iterator[Part]:
        for part in slab.part():
            unused.difference_update(part.rows)
            yield part

    for row, slice_ in slices:
        rows, columns = slice_.stored.shape
        if not _is_same(Size(rows, columns, slice_.pixel_spacing), size):
            refuse(row, Refused("other-size", "pixels of another size: cannot be averaged with the rest of its series"))
            continue
        unused.add(row)
        while coming and min(coming.shares) <= row:
            open_.append(_Open(coming))
            coming = next(waiting, None)
        while open_ and max(open_[0].slab.shares) < row:
            yield from closed(open_.pop(0))
        for slab in open_:
            slab.add(row, slice_)
    for slab in open_:
        yield from closed(slab)
    reason = f"in no mean over {TRAINED_MM} mm: at an end of its stack, or too few slices beside it could be read"
    for row in sorted(unused):
        refuse(row, Refused("not-averaged", reason))


def _is_same(one: Size, other: Size) -> bool:
    if one[:2] != other[:2] or not one.pixel_spacing or not other.pixel_spacing:
        return one == other
    pairs = zip(one.pixel_spacing, other.pixel_spacing, strict=True)
    return all(math.isclose(*pair, rel_tol=SAME_SIZE) for pair in pairs)


class _Open:
    """A slab that slices are added to."""

    def __init__(self, slab: Slab) -> None:
        self.slab, self.shares = slab, dict[int, float]()
        self.hu: npt.NDArray[np.float32] = np.zeros((), np.float32)
        self.spacing: tuple[float, float] | None = None

    def add(self, row: int, slice_: Slice) -> None:
        if share := self.slab.shares.get(row):
            self.hu = self.hu + np.float32(share) * slice_.hu()
            self.shares[row], self.spacing = share, slice_.pixel_spacing

    def part(self) -> Iterator[Part]:
        there = sum(self.shares.values())
        if there >= TRAINED_MM / 2:
            steps = np.rint(self.hu * np.float32(1 / (there * FINE.slope))).clip(-32768, 32767).astype(np.int16)
            rows = sorted(self.shares, key=lambda row: (-round(self.shares[row], 3), row))
            yield Part(tuple(rows), self.slab.position, Slice(steps.view(np.uint16), FINE, self.spacing))
