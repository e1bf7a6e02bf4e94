"""What a head looked at, drawn over the slices: coarse as it is, never smoothed; put together by pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from PIL import Image

from corpus.images import Images
from corpus.windows import apply_window, dequantise
from evaluation.cases import KINDS, Case
from evaluation.falls import Falls
from evaluation.metrics import Floats
from evaluation.style import COLOURS, STYLE, save

if TYPE_CHECKING:
    from evaluation.pointing import Masks

FOR, AGAINST = COLOURS[1], COLOURS[0]  # places that speak for the label, and against it
BLOOD = "#ffd400"
TILE, GAP = 150, 10  # pixels: side of a slice, and between two cases
OPACITY = 0.65  # of the deepest place
Pixels = npt.NDArray[np.float64]  # height × width × 3, 0 … 1


def overlays(
    path: Path,
    cases: Sequence[Case],
    falls: Falls,
    answers: Mapping[tuple[str, str], float],
    masks: "Masks",
    images: Images,
    labels: Sequence[str],
    dpi: int,
) -> None:
    """A row a label, two pictures a case: the slice in its first window with the blood's outline, and the falls on it.

    `answers`: (label, id) → probability; `masks`: empty where nobody knows where blood lies. Falls are shaded by their
    share of the deepest of that slice and label.
    """
    shown = [label for label in labels if any(case.label == label for case in cases)]
    of = {(case.label, case.kind): case.id for case in cases}
    window, hu_range = images.windows()[0], images.card["hu_range"]
    wide, high = 2 * TILE + GAP, TILE + 2 * GAP
    canvas = np.ones((high * len(shown), wide * len(KINDS), 3))
    words: list[tuple[int, int, str]] = []
    for line, label in enumerate(shown):
        for number, kind in enumerate(KINDS):
            top, left = line * high + 2 * GAP, number * wide
            id_ = of.get((label, kind))
            words.append((left, top - 4, f"{answers[label, id_]:.2f}" if id_ else "no such slice"))
            if id_:
                value = images.shards.read(images.rows_of([id_]))[0, ..., 0].astype(np.float64)
                slice_ = _tile(apply_window(dequantise(value, *hu_range), window))
                fall = falls.values[falls.ids.index(id_), labels.index(label)]
                mask = masks.get(id_, {}).get(label)
                pair = [slice_ if mask is None else outlined(slice_, mask), shaded(slice_, fall)]
                canvas[top : top + TILE, left : left + 2 * TILE] = np.concatenate(pair, axis=1)
    size = (canvas.shape[1] / 125, canvas.shape[0] / 125)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(size[0] + 1.1, size[1] + 0.2))
        place = (1.1 / (size[0] + 1.1), 0, size[0] / (size[0] + 1.1), size[1] / (size[1] + 0.2))
        axis = figure.add_axes(place, frameon=False)
        axis.imshow(canvas, interpolation="nearest", aspect="auto")
        axis.set_axis_off()
        look: dict[str, Any] = {"color": "#222222", "fontsize": 7.5, "annotation_clip": False}
        for x, y, text in words:
            axis.annotate(text, (x, y), **look)
        for line, label in enumerate(shown):
            axis.annotate(label, (-8, line * high + high / 2), ha="right", **look)
        for number, kind in enumerate(KINDS):
            axis.annotate(kind, (number * wide, -2), **look)
        save(figure, path, dpi)


def outlined(slice_: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """A slice (TILE×TILE×3) with the edge of a mask of any size."""
    from scipy.ndimage import binary_dilation

    small = np.asarray(Image.fromarray(mask).resize((TILE, TILE), Image.Resampling.NEAREST))
    found = slice_.copy()
    found[binary_dilation(small) & ~small] = _rgb(BLOOD)
    return found


def shaded(slice_: Pixels, fall: Floats | npt.NDArray[np.float32]) -> Pixels:
    """A slice (TILE×TILE×3) with its places (falls, h×w) coloured, framed where the fall is deepest."""
    at = [np.arange(TILE) * cells // TILE for cells in fall.shape]
    opacity = OPACITY * np.abs(fall) / max(float(np.abs(fall).max()), 1e-12)
    colour = np.where((fall > 0)[..., None], _rgb(FOR), _rgb(AGAINST))
    weight = opacity[at[0]][:, at[1]][..., None]
    found = (1 - weight) * slice_ + weight * colour[at[0]][:, at[1]]
    deepest = np.unravel_index(int(fall.argmax()), fall.shape)
    rows, columns = (np.flatnonzero(of_pixel == place) for of_pixel, place in zip(at, deepest, strict=True))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    for edge in (np.s_[top : bottom + 1, [left, right]], np.s_[[top, bottom], left : right + 1]):
        found[edge] = _rgb(FOR)
    return np.asarray(found, dtype=np.float64)


def _tile(grey: Floats) -> Pixels:
    small = Image.fromarray(grey.astype(np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR)
    return np.repeat(np.asarray(small, dtype=np.float64)[..., None], 3, axis=2)


def _rgb(colour: str) -> Floats:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
