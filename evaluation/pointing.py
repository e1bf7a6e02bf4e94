"""Does a head look at the blood? The pointing game, where masks say where blood lies: on phantoms.

Zhang et al., Top-down Neural Attention by Excitation Backprop (arXiv 1608.00507), section 4.1, on the grid of places
that were occluded: a hit is a positive slice whose place of the deepest fall holds some of its blood. Chance is the
share of places that do; beside it stand the place of the middle, and the one whose brain is brightest.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from corpus.images import Images
from corpus.masks import unpack_mask
from corpus.windows import dequantise
from evaluation.falls import Falls
from evaluation.figures import SHARE
from evaluation.floors import inside_skull
from evaluation.intervals import Estimate, difference, estimate, sample
from evaluation.metrics import FEW, Floats
from evaluation.parameters import Intervals
from evaluation.resampling import draw_patients, mean_of, owners

BONE, ERODE = 150.0, 0.02  # HU from which a pixel is skull; share of the side taken off inside it
BRAIN = (0.0, 100.0)  # HU: brain, water and blood
INSIDE = 0.5  # a place whose brain covers less of it is not asked for its brightness
Masks = Mapping[str, Mapping[str, npt.NDArray[np.bool_]]]  # id → label → the blood's mask, made square
AT_ONCE = 256  # slices in memory
GUESSES = ("hit", "chance", "middle", "brightest")


class Truth(NamedTuple):
    """On a grid of places: which hold blood (id → label → h×w bool), and the number of the brightest (id → …)."""

    blood: Mapping[str, Mapping[str, npt.NDArray[np.bool_]]]
    bright: Mapping[str, int]


@dataclass(frozen=True)
class Pointing:
    """Of one label of one variant: shares of positive slices, and that of hits minus chance; None with few patients."""

    variant: str
    label: str
    slices: int
    patients: int
    places: str  # rows × columns
    hit: Estimate | None
    chance: Estimate | None
    middle: Estimate | None
    brightest: Estimate | None
    above_chance: Estimate | None


def read_masks(lesions: Path, ids: Sequence[str], labels: Sequence[str], hashed: bool) -> Masks:
    """Masks of labelled blood on the slices, as squares padded as `prepare-ct` pads; the last label is `any`.

    `lesions`: the folder with lesions.parquet; `hashed`: ids are hashes of the SOPInstanceUID.
    """
    wanted, found = set(ids), dict[str, dict[str, npt.NDArray[np.bool_]]]()
    columns = ["hash" if hashed else "id", "label", "labelled", "rows", "columns", "mask"]
    table = pq.read_table(lesions / "lesions.parquet", columns=columns)
    for id_, label, labelled, rows, width, mask in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if labelled and id_ in wanted:
            one = _square(unpack_mask(mask, rows, width))
            of_slice = found.setdefault(id_, {})
            of_slice[label] = one
            of_slice[labels[-1]] = of_slice.get(labels[-1], one) | one
    return found


def truth_on(grid: tuple[int, int], masks: Masks, images: Images) -> Truth:
    """Of every slice of `masks` what the places of a grid hold; the same for all heads of that grid."""
    ids = list(masks)
    blood = {id_: {label: coverage(mask, grid) > 0 for label, mask in of.items()} for id_, of in masks.items()}
    bright = {}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        for id_, value in zip(some, images.shards.read(images.rows_of(some)), strict=True):
            hu = dequantise(value[..., 0].astype(np.float64), *images.card["hu_range"])
            bright[id_] = brightest(hu, grid)
    return Truth(blood, bright)


def play(
    variant: str,
    falls: Falls,
    positives: Mapping[str, Sequence[str]],
    patients: Mapping[str, str],
    truth: Truth,
    labels: Sequence[str],
    intervals: Intervals,
) -> list[Pointing]:
    """The game for every label over its positive slices among `falls`. `positives`: label → ids; `patients`: of ids."""
    row_of = {id_: row for row, id_ in enumerate(falls.ids)}
    height, width = falls.values.shape[2:]
    found = []
    for i, label in enumerate(labels):
        ids = [id_ for id_ in positives[label] if id_ in row_of and label in truth.blood.get(id_, {})]
        guesses = np.zeros((len(ids), len(GUESSES)))
        for n, id_ in enumerate(ids):
            blood = truth.blood[id_][label]
            deepest = falls.values[row_of[id_], i].argmax()
            guesses[n] = (
                blood.flat[deepest],
                blood.mean(),
                blood[height // 2, width // 2],
                blood.flat[truth.bright[id_]],
            )
        found.append(_estimates(variant, label, guesses, [patients[id_] for id_ in ids], (height, width), intervals))
    return found


def _estimates(
    variant: str, label: str, guesses: Floats, patients: list[str], grid: tuple[int, int], intervals: Intervals
) -> Pointing:
    size = f"{grid[0]}×{grid[1]}"
    count = len(set(patients))
    if count < FEW:
        return Pointing(variant, label, len(guesses), count, size, None, None, None, None, None)
    owner, _ = owners(patients)
    draws = draw_patients(count, intervals.replicates, intervals.seed)
    shares = [sample(mean_of(column, owner), draws) for column in guesses.T]
    each = [estimate([share], intervals.confidence, SHARE) for share in shares]
    above = difference([shares[0]], [shares[1]], intervals.confidence)
    return Pointing(variant, label, len(guesses), count, size, *each, above)


def coverage(mask: npt.NDArray[np.bool_], grid: tuple[int, int]) -> Floats:
    """Share of each place of a grid that a mask (of any size) covers."""
    rows, columns = (np.arange(size) * cells // size for size, cells in zip(mask.shape, grid, strict=True))
    cell = rows[:, None] * grid[1] + columns
    count = np.bincount(cell.ravel(), minlength=grid[0] * grid[1])
    held = np.bincount(cell.ravel(), mask.ravel(), minlength=grid[0] * grid[1])
    return np.asarray((held / np.maximum(count, 1)).reshape(grid), dtype=np.float64)


def brightest(hu: Floats, grid: tuple[int, int]) -> int:
    """Number of the place whose brain (BRAIN, inside the skull) has the highest mean; the middle without any brain."""
    brain = inside_skull(hu, BONE, round(ERODE * hu.shape[0])) & (hu >= BRAIN[0]) & (hu <= BRAIN[1])
    share = coverage(brain, grid)
    if not (share >= INSIDE).any():
        return grid[0] // 2 * grid[1] + grid[1] // 2
    rows, columns = (np.arange(size) * cells // size for size, cells in zip(hu.shape, grid, strict=True))
    cell = (rows[:, None] * grid[1] + columns)[brain]
    total = np.bincount(cell, hu[brain], minlength=grid[0] * grid[1])
    mean = total / np.maximum(np.bincount(cell, minlength=len(total)), 1)
    return int(np.where(share.ravel() >= INSIDE, mean, -np.inf).argmax())


def write_pointing(path: Path, rows: Sequence[Pointing]) -> None:
    """`pointing.csv`: an estimate is three columns, empty where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        names = [field.name for field in fields(Pointing)]
        estimates = names[names.index("hit") :]
        header = names[: names.index("hit")] + [f"{n}{end}" for n in estimates for end in ("", "_low", "_high")]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            found = asdict(row)
            cells = [found[name] for name in names[: names.index("hit")]]
            for name in estimates:
                cells += [f"{found[name][key]:.6f}" if found[name] else "" for key in ("value", "low", "high")]
            writer.writerow(cells)


def _square(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    rows, columns = mask.shape
    side = max(rows, columns)
    square = np.zeros((side, side), np.bool_)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = mask
    return square
