"""Curves of one evaluation: reliability, ROC, precision by recall; as CSV for `dvc plots` and as pictures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from evaluation.metrics import FEW, Floats, class_patients
from evaluation.operating import precision_on_grid, roc_on_grid
from evaluation.resampling import owners
from evaluation.scores import Scores
from evaluation.style import COLOURS, STYLE, save

GRID = np.linspace(0, 1, 101)
EDGE = 3e-4  # answers and shares nearer to 0 or 1 stand on the edge of the reliability plot
DPI = 110
ACROSS = 3  # panels in a line
LEVELS = {"slices": "slices", "scans-aggregate": "scans, aggregate fitted on val"}  # those that are drawn


def write_curves(path: Path, axis: str, curves: Mapping[str, Floats], labels: Sequence[str]) -> None:
    """A CSV with `axis` on the grid, then a column of each label, empty where it has no curve."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([axis, *labels])
        for i, at in enumerate(GRID):
            writer.writerow([f"{at:.2f}", *(f"{curves[name][i]:.6g}" if name in curves else "" for name in labels)])


def label_curves(scores: Scores, labels: Sequence[str]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """ROC and precision on the grid, of the labels with FEW or more positive and negative patients."""
    owner, _ = owners(scores.patients)
    roc, precision = {}, {}
    for i, label in enumerate(labels):
        truth, logits = scores.truth[:, i], scores.logits[:, i]
        if min(class_patients(truth, owner)) >= FEW:
            roc[label], precision[label] = roc_on_grid(truth, logits, GRID), precision_on_grid(truth, logits, GRID)
    return roc, precision


def draw_curves(path: Path, levels: Mapping[str, Scores], labels: Sequence[str], found: Mapping[str, Any]) -> None:
    """ROC on the left, precision by recall on the right, a line of panels for each level; AUC and AP in the legend."""
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(levels), 2, figsize=(8.6, 3.9 * len(levels)), layout="constrained", squeeze=False
        )
        for axes, (level, scores) in zip(grid, levels.items(), strict=True):
            curves = label_curves(scores, labels)
            for i, label in enumerate(labels):
                record = found[level]["labels"][label]
                look: dict[str, Any] = {
                    "color": "#333333" if label == "any" else [*COLOURS, "#e69f00"][i % 5],
                    "linewidth": 2.0 if label == "any" else 1.2,
                    "linestyle": "-" if label == "any" else ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))][i % 5],
                }
                for axis, lines, key in zip(axes, curves, ("auc", "average_precision"), strict=True):
                    if label in lines and record[key]:
                        axis.plot(GRID, lines[label], label=f"{label} {_interval(record[key])}", **look)
                    else:
                        axis.plot([], [], " ", label=f"{label} n/a ({_of(record, found[level])})")
            axes[0].plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 3)))
            for axis, (x, y), place in zip(
                axes,
                (("1 - specificity", "sensitivity"), ("recall (sensitivity)", "precision")),
                ("lower right", "lower left"),
                strict=True,
            ):
                axis.set_title(LEVELS[level], fontsize=9, loc="left")
                axis.set_xlabel(x)
                axis.set_ylabel(y)
                axis.set_xlim(0, 1)
                axis.set_ylim(0, 1.02)
                axis.legend(loc=place, fontsize=7, frameon=True, framealpha=0.85, edgecolor="none")
        save(figure, path, DPI)


def draw_reliability(
    path: Path, rows: Sequence[Mapping[str, Any]], labels: Sequence[str], found: Mapping[str, Any]
) -> None:
    """Share of positives by mean answer in bins of equal count, before and after scaling; a panel a level and label.

    Both axes are logit scales, since most answers are near 0. A bin of one class has no place there: it is an open mark
    on the edge.
    """
    with plt.rc_context(STYLE):
        lines = -(-len(labels) // ACROSS)  # of one level
        size = (2.6 * ACROSS, 2.7 * lines * len(LEVELS))
        figure, grid = plt.subplots(lines * len(LEVELS), ACROSS, figsize=size, layout="constrained", squeeze=False)
        for axes, (level, words) in zip(grid.reshape(len(LEVELS), -1), LEVELS.items(), strict=True):
            for axis in axes[len(labels) :]:
                axis.set_visible(False)
            chosen = [row for row in rows if row["level"] == level]
            inner = [row[key] for row in chosen for key in ("answered", "observed") if EDGE < row[key] < 1 - EDGE]
            low, high = min([0.02, *inner]) * 0.7, 1 - min([0.02, *(1 - value for value in inner)]) * 0.7
            for axis, label in zip(axes, labels, strict=False):
                for scaled, (colour, mark, word) in enumerate(
                    ((COLOURS[1], "s", "as answered"), (COLOURS[0], "o", "divided by the temperature from val"))
                ):
                    mine = [row for row in chosen if row["label"] == label and row["scaled"] == scaled]
                    points = np.array([[row["answered"], row["observed"]] for row in mine])
                    edge = (points[:, 1] < low) | (points[:, 1] > high)
                    points = points.clip(low, high)
                    axis.plot(*points[~edge].T, mark + "-", color=colour, markersize=3.5, linewidth=0.9, label=word)
                    axis.plot(*points[edge].T, mark, color=colour, markersize=3.5, markerfacecolor="white")
                axis.plot([low, high], [low, high], color="#999999", linewidth=1, linestyle=(0, (4, 3)))
                axis.set_xscale("logit")
                axis.set_yscale("logit")
                ticks = [tick for tick in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99) if low <= tick <= high]
                for one in (axis.xaxis, axis.yaxis):
                    one.set_ticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=6.5)
                    one.set_ticks([], minor=True)
                axis.set_xlim(low * 0.7, 1 - (1 - high) * 0.7)
                axis.set_ylim(low * 0.7, 1 - (1 - high) * 0.7)
                record = found[level]["labels"][label]
                error = record["calibration"]["calibration_error"]
                change = f"{error['before']['value']:.3f} → {error['after']['value']:.3f}"
                title = f"{label}: {record['positive_patients']} patients\nECE {change}"
                axis.set_title(title, fontsize=7.5, loc="left")
            for axis in axes[::ACROSS]:
                axis.set_ylabel(f"{words.partition(',')[0]}: share of positives", fontsize=8)
        for axis in grid[-1]:
            axis.set_xlabel("mean answer of the bin", fontsize=7.5)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)
        save(figure, path, DPI)


def _of(record: Mapping[str, Any], level: Mapping[str, Any]) -> str:
    return f"{record['positive_patients']} of {level['patients']} patients positive"


def _interval(record: Mapping[str, float]) -> str:
    return f"{record['value']:.3f} ({record['low']:.3f} to {record['high']:.3f})"
