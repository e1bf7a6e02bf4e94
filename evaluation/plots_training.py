"""Curves of trainings, as small multiples."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from evaluation.style import COLOURS, STYLE, save

Curve = dict[str, list[float]]  # column → values
Panel = tuple[str, list[tuple[Curve, str, str]]]  # title; curve, its column, which part


def read_curve(path: Path) -> Curve:
    """Columns of a training.csv or validation.csv; empty when there is no row."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def curves(path: Path, trainings: Mapping[str, Path], dpi: int) -> None:
    """Small multiples: one panel per training, its training loss as a line and its validation losses as points.

    `trainings`: title → artifact folder with training.csv and validation.csv (a column `images`, then figures).
    """
    panels: list[Panel] = []
    for title, folder in trainings.items():
        training, validation = (read_curve(folder / f"{name}.csv") for name in ("training", "validation"))
        panels.append((title, [(training, name, "train") for name in _losses(training)]
                              + [(validation, name, "val") for name in _losses(validation)]))  # fmt: skip
    _small_multiples(path, panels, "loss, nats", dpi)


def figures_by_images(path: Path, folder: Path, dpi: int) -> None:
    """Small multiples of one training with many figures (the translator): one panel per column of its curves."""
    panels: list[Panel] = []
    for part, word in (("training", "train"), ("validation", "watched")):
        curve = read_curve(folder / f"{part}.csv")
        panels += [(name, [(curve, name, word)]) for name in curve if name != "images"]
    _small_multiples(path, panels, "as titled", dpi)


def _losses(curve: Curve) -> list[str]:
    names = [name for name in curve if name != "images"]
    return [name for name in names if "loss" in name] or names[:1]


def _small_multiples(path: Path, panels: Sequence[Panel], unit: str, dpi: int) -> None:
    columns = min(4, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            lines, columns, figsize=(2.3 * columns, 1.75 * lines), layout="constrained", squeeze=False
        )
        for axis in grid.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, (title, series) in zip(grid.flat, panels, strict=False):
            for number, (curve, name, part) in enumerate(series):
                colour = COLOURS[0] if part == "train" else COLOURS[1 + number % 3]
                mark = "o-" if part == "val" else "-"
                axis.plot(curve["images"], curve[name], mark, color=colour, markersize=3, linewidth=1.2, label=part)
            axis.set_title(title, fontsize=8.5, loc="left")
            axis.tick_params(labelsize=7)
            axis.xaxis.set_major_locator(MaxNLocator(3))
            axis.yaxis.set_major_locator(MaxNLocator(4))
            if len(series) > 1:
                axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
                axis.legend(fontsize=6.5, handlelength=1.2, loc="upper right")
        figure.supxlabel("images seen", fontsize=8)
        figure.supylabel(unit, fontsize=8)
        save(figure, path, dpi)
