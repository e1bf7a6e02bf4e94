"""Phantom and real slices beside each other, and their figures as plots."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from benchmarks.realism_figures import BONE, HISTOGRAM, SPECTRUM, brain_mask, head_mask, spectrum
from corpus.contact_sheet import contact_sheet
from corpus.windows import Window, apply_window

Array = npt.NDArray[np.floating[Any]]
Picture = tuple[npt.NDArray[np.float32], float]  # HU, and the pixel's side in mm
BELOW = (110, 95, 85, 75, 65, 55, 42, 28)  # mm below the vertex
CELL = 240  # mm and pixels: one mm a pixel
COLOURS = {"real": "#c44e52", "phantom": "#4c72b0"}


def vertex(series: list[Picture]) -> int:
    """Number of the highest slice that shows bone (1 cm² of it)."""
    bone = [float((hu > BONE).sum()) * spacing**2 / 100 for hu, spacing in series]
    return int(np.flatnonzero(np.array(bone) >= 1)[-1])


def cell(picture: Picture, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """A slice in a window (HU from, to), 240 × 240 mm about the head's middle, one pixel a millimetre."""
    hu, spacing = picture
    head = head_mask(hu)
    middle = ndimage.center_of_mass(head) if head.any() else (hu.shape[0] / 2, hu.shape[1] / 2)
    soft = ndimage.gaussian_filter(hu, 0.4 / spacing)
    rows, columns = (m + (np.arange(CELL) - CELL / 2) / spacing for m in middle)
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    values = ndimage.map_coordinates(soft, at, order=1, cval=-1000.0)
    low, high = window
    return np.asarray(apply_window(values, Window((low + high) / 2, high - low)) * 255, np.uint8)


def probe_pictures(pictures: list[Picture], view: str) -> npt.NDArray[np.uint8]:
    """Slices as the probe sees them (n × 128 × 128): brain window, 200 mm about the head's middle.

    `view`: "head", all of it; "brain", what lies within the skull, its median at 30 HU; "coarse", the same blurred;
    "texture", the 128 × 128 pixels about the brain's middle as they are, their median at 30 HU.
    """
    found = []
    for hu, spacing in pictures:
        if view == "texture":
            middle = ndimage.center_of_mass(brain_mask(hu, spacing))
            top, left = (int(np.clip(round(m) - 64, 0, n - 128)) for m, n in zip(middle, hu.shape, strict=True))
            part = hu[top : top + 128, left : left + 128]
            found.append(np.asarray(apply_window(part + (30 - np.median(part)), Window(40, 80)) * 255, np.uint8))
            continue
        if view != "head":
            inside = ndimage.binary_fill_holes(brain_mask(hu, spacing))
            shown = hu if view == "brain" else ndimage.gaussian_filter(hu, 1.2 / spacing)
            hu = np.where(inside, shown + (30 - np.median(hu[inside])), -1000).astype(np.float32)
        large = cell((hu, spacing), (0, 80))[20:-20, 20:-20]
        found.append(np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BOX)))
    return np.stack(found)


def montage(drawn: list[list[Picture]], real: list[list[Picture]], window: tuple[float, float]) -> Image.Image:
    """A row a series, phantom and real in turn, the same heights below the vertex in each column, from the base up.

    A series' step is taken as 5 mm.
    """
    cells, captions = [], []
    for number in range(max(len(drawn), len(real))):
        for kind, series in (("phantom", drawn), ("real", real)):
            if number < len(series):
                top = vertex(series[number])
                for mm in BELOW:
                    at = top - round(mm / 5)
                    empty = np.zeros((CELL, CELL), np.uint8)
                    cells.append(cell(series[number][at], window) if at >= 0 else empty)
                    captions.append(f"{kind} {number + 1}, {mm} mm below the vertex")
    return contact_sheet(np.stack(cells), captions, len(BELOW), cell=CELL)


def histograms(real: list[Picture], drawn: list[Picture], path: Path) -> None:
    """Share of the brain's pixels at each HU from -20 to 90: mean over slices and the 5 … 95 % of slices."""
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for kind, pictures in (("real", real), ("phantom", drawn)):
        rows = []
        for hu, spacing in pictures:
            inside = ndimage.binary_fill_holes(brain_mask(hu, spacing))
            counts, _ = np.histogram(hu[inside], HISTOGRAM)
            rows.append(counts / max(1, int(inside.sum())))
        _band(axes, HISTOGRAM[:-1] + 0.5, np.array(rows), kind)
    axes.set(xlabel="HU", ylabel="share of brain pixels")
    axes.legend()
    figure.savefig(path)


def spectra(real: list[Picture], drawn: list[Picture], path: Path) -> None:
    """Radial power spectra of the brain, median and 5 … 95 % of slices."""
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for kind, pictures in (("real", real), ("phantom", drawn)):
        rows = np.array([spectrum(hu, brain_mask(hu, spacing), spacing) for hu, spacing in pictures])
        _band(axes, (SPECTRUM[1:] + SPECTRUM[:-1]) / 2, rows, kind)
    axes.set(xlabel="cycles per mm", ylabel="power, HU² mm²", xscale="log", yscale="log")
    axes.legend()
    figure.savefig(path)


def _band(axes: Any, x: Array, rows: Array, kind: str) -> None:
    low, middle, high = np.quantile(rows, (0.05, 0.5, 0.95), axis=0)
    axes.plot(x, middle, color=COLOURS[kind], label=kind)
    axes.fill_between(x, low, high, color=COLOURS[kind], alpha=0.2, linewidth=0)


def spreads(real: dict[str, Array], drawn: dict[str, Array], rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A box plot of each figure over patients, what tells most first."""
    names = sorted((n for n in rows if rows[n]["real"]), key=lambda n: -rows[n]["tell"])
    columns = 8
    figure = Figure(figsize=(16, 1.9 * -(-len(names) // columns)), dpi=80, layout="constrained")
    grid = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=False):
        boxes = axes.boxplot(
            [v[np.isfinite(v)] for v in (real[name], drawn[name])], whis=(5, 95), patch_artist=True, widths=0.6
        )
        for box, kind in zip(boxes["boxes"], ("real", "phantom"), strict=True):
            box.set_facecolor(COLOURS[kind])
        axes.set_title(f"{name}  {rows[name]['tell']:.2f}", fontsize=8)
        axes.set_xticks([])
        axes.tick_params(labelsize=7)
    for axes in grid[len(names) :]:
        axes.axis("off")
    figure.savefig(path)
