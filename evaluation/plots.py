"""Figures of the report, as PNG and CSV."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from evaluation.style import COLOURS, STYLE, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evaluation.lesions import SizeRow

# Okabe and Ito's colours and a marker each: told apart also in grey and by the colour-blind.
LOOKS = {
    "no CNN": ("#555555", "X"),
    "GAN": ("#d55e00", "^"),
    "ImageNet": ("#0072b2", "s"),
    "ImageNet + GAN": ("#009e73", "o"),
    "other": ("#cc79a7", "D"),
}

Curve = dict[str, list[float]]  # column → values
Panel = tuple[str, list[tuple[Curve, str, str]]]  # title; curve, its column, which part


@dataclass(frozen=True)
class Point:
    """A variant in Figure 2."""

    variant: str
    cnns: int
    pretraining: str  # a key of LOOKS
    pair: str  # "same file", "same recipe" or "": what its CNNs share
    projected: bool
    weighted_log_loss: float
    mean_accuracy: float
    mean_auc: float | None


def point(name: str, entry: Mapping[str, Any], cnns: Mapping[str, Mapping[str, Any]], test: Mapping[str, Any]) -> Point:
    """`entry`: variants.<name>; `cnns`: the whole table; `test`: the part of its details.json."""
    used = list(entry["cnns"])
    starts = {{"imagenet": "ImageNet", "gan-pretrain": "GAN"}.get(str(cnns[cnn]["start"]), "other") for cnn in used}
    mix = " + ".join(sorted(starts, reverse=True)) if used else "no CNN"  # "ImageNet + GAN"
    recipes = [{key: value for key, value in cnns[cnn].items() if key != "seed"} for cnn in used]
    pair = ""
    if len(used) > 1 and len(set(used)) == 1:
        pair = "same file"
    elif len(used) > 1 and all(recipe == recipes[0] for recipe in recipes):
        pair = "same recipe"
    return Point(
        name,
        len(used),
        mix if mix in LOOKS else "other",
        pair,
        entry.get("projection") is not None,
        test["weighted_log_loss"],
        test["mean_accuracy"],
        test["mean_auc"],
    )


def write_points(path: Path, points: Sequence[Point]) -> None:
    """`figure2.csv`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        for row in points:
            values = asdict(row).items()
            writer.writerow({k: "" if v is None else f"{v:.6f}" if isinstance(v, float) else v for k, v in values})


def figure2(path: Path, points: Sequence[Point], names: Mapping[str, str], floor: float, note: str, dpi: int) -> None:
    """Test log loss and mean AUC by number of CNNs and their pretraining.

    `names`: what the starts "imagenet" and "gan-pretrain" stand for; `floor`: the prevalences' log loss.
    """
    corpora = {"ImageNet": names["imagenet"], "GAN": names["gan-pretrain"]}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
        for axis, field, title in (
            (axes[0], "weighted_log_loss", "Weighted log loss, test (lower is better)"),
            (axes[1], "mean_auc", "Mean AUC over labels, test (higher is better)"),
        ):
            level = floor if field == "weighted_log_loss" else 0.5
            axis.axhline(level, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            word = "prevalences fitted on train" if field == "weighted_log_loss" else "chance"
            axis.annotate(word, (1, level), xycoords=("axes fraction", "data"), xytext=(0, 3),
                          textcoords="offset points", ha="right", color="#777777", fontsize=7.5)  # fmt: skip
            _scatter(axis, [p for p in points if getattr(p, field) is not None], field, level)
            axis.set_title(title, fontsize=9.5, loc="left")
            axis.set_xlabel("CNNs in front of the head")
            axis.set_xticks(range(max((p.cnns for p in points), default=0) + 1))
            axis.set_xlim(-0.5, max((p.cnns for p in points), default=0) + 0.85)
            axis.margins(y=0.12)
        seen = {p.pretraining for p in points}
        for kind, (colour, marker) in LOOKS.items():
            if kind in seen:
                words = " + ".join(corpora.get(word, word) for word in kind.split(" + "))
                axes[0].plot([], [], marker, color=colour, label=words)
        if any(p.pair or p.projected for p in points):
            axes[0].plot([], [], "o", markerfacecolor="white", markeredgecolor="#555555", label="open: see its name")
        figure.legend(loc="outside lower center", ncols=6, fontsize=8.5)
        figure.suptitle(note, fontsize=8, color="#a03010", x=0.01, ha="left")
        save(figure, path, dpi)


def _scatter(axis: "Axes", points: Sequence[Point], field: str, level: float) -> None:
    """Points stand above their number of CNNs; names beside them, moved apart as little as keeps their order."""
    from scipy.optimize import isotonic_regression

    values = [level, *(float(getattr(p, field)) for p in points)]
    apart = (max(values) - min(values)) * 0.055 or 0.01
    for number in {p.cnns for p in points}:
        group = sorted((p for p in points if p.cnns == number), key=lambda p: float(getattr(p, field)))
        at = np.array([float(getattr(p, field)) for p in group])
        steps = apart * np.arange(len(at))
        for p, value, height in zip(group, at, isotonic_regression(at - steps).x + steps, strict=True):
            colour, marker = LOOKS[p.pretraining]
            face = "white" if p.pair or p.projected else colour
            axis.plot(number, value, marker, color=colour, markerfacecolor=face, markersize=7, zorder=3)
            axis.plot([number, number + 0.16], [value, height], color="#bbbbbb", linewidth=0.6, zorder=2)
            axis.annotate(p.variant, (number + 0.18, height), fontsize=7.5, color="#333333", va="center")


def sizes(path: Path, rows: "Sequence[SizeRow]", note: str, dpi: int) -> None:
    """AUC by lesion size, a panel for each label, a line for each variant; the number of slices under each bin."""
    labels, variants = list(dict.fromkeys(r.label for r in rows)), list(dict.fromkeys(r.variant for r in rows))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(9, 4.6), layout="constrained", sharey=True)
        for axis, label in zip(axes.flat, labels, strict=False):
            first = [r for r in rows if r.label == label and r.variant == variants[0]]
            for number, variant in enumerate(variants):
                values = [np.nan if r.auc is None else r.auc for r in rows if (r.label, r.variant) == (label, variant)]
                colour, marker = COLOURS[number % len(COLOURS)], "os^DXv*P"[number % 8]
                axis.plot(
                    range(len(values)), values, marker + "-", color=colour, linewidth=0.8, markersize=4, label=variant
                )
            axis.axhline(0.5, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            axis.set_title(label, fontsize=9, loc="left")
            axis.set_xticks(
                range(len(first)), [f"{_size_range(r.low, r.high)}\nn={r.slices}" for r in first], fontsize=7
            )
        axes[0, 0].set_ylabel("AUC, test")
        axes[1, 0].set_ylabel("AUC, test")
        figure.supxlabel("Area of the blood on the slice, mm² (n: positive slices)", fontsize=8.5)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", fontsize=7.5)
        figure.suptitle(note, fontsize=8, color="#a03010", x=0.01, ha="left")
        save(figure, path, dpi)


def _size_range(low: float, high: float) -> str:
    return f"< {high:g}" if not low else f"≥ {low:g}" if high == float("inf") else f"{low:g}–{high:g}"


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
    _small_multiples(path, panels, dpi)


def figures_by_images(path: Path, folder: Path, dpi: int) -> None:
    """Small multiples of one training with many figures (the translator): one panel per column of its curves."""
    panels: list[Panel] = []
    for part, word in (("training", "train"), ("validation", "watched")):
        curve = read_curve(folder / f"{part}.csv")
        panels += [(name, [(curve, name, word)]) for name in curve if name != "images"]
    _small_multiples(path, panels, dpi)


def _losses(curve: Curve) -> list[str]:
    names = [name for name in curve if name != "images"]
    return [name for name in names if "loss" in name] or names[:1]


def _small_multiples(path: Path, panels: Sequence[Panel], dpi: int) -> None:
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
        save(figure, path, dpi)
