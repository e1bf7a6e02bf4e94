"""Figures that compare variants, as PNG and CSV: dots with intervals, label fractions, lesion sizes."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from evaluation.style import COLOURS, STYLE, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from evaluation.compare import CurvePoint
    from evaluation.intervals import Estimate
    from evaluation.lesions import SizeRow

# Okabe and Ito's colours and a marker each: told apart also in grey and by the colour-blind.
LOOKS = {
    "no CNN": ("#555555", "X"),
    "GAN": ("#d55e00", "^"),
    "ImageNet": ("#0072b2", "s"),
    "ImageNet + GAN": ("#009e73", "o"),
    "other": ("#cc79a7", "D"),
}
PLAIN = ("#777777", "|")  # of floors, and of differences


class Interval(NamedTuple):
    """A figure and the ends of its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


class Dot(NamedTuple):
    """A row of a dot plot."""

    name: str
    look: str  # a key of LOOKS; any other is grey
    hollow: bool
    figures: Sequence[Interval | None]  # one for each panel; None: n/a


class DotPanel(NamedTuple):
    """A panel of a dot plot, and a level that its dots are seen against."""

    title: str
    level: float | None = None
    word: str = ""  # what the level is


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


def dots(
    path: Path,
    groups: Sequence[Sequence[Dot]],
    panels: Sequence[DotPanel],
    legend: Mapping[str, str],
    note: str,
    dpi: int,
) -> None:
    """Dots with intervals, a row each, in the order given; a gap between groups.

    `legend`: key of LOOKS → words, of those that are explained below; `note`: stands above all.
    """
    rows = [dot for group in groups for dot in group]
    gaps = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    places = np.arange(len(rows)) + 0.6 * gaps
    with plt.rc_context({**STYLE, "axes.spines.left": False, "ytick.left": False}):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(8, 0.24 * len(rows) + 1.5), layout="constrained", sharey=True, squeeze=False
        )
        for number, (axis, panel) in enumerate(zip(axes[0], panels, strict=True)):
            if panel.level is not None:
                axis.axvline(panel.level, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                axis.annotate(panel.word, (panel.level, 1), xycoords=("data", "axes fraction"), xytext=(3, 1),
                              textcoords="offset points", color="#666666", fontsize=7)  # fmt: skip
            for place, dot in zip(places, rows, strict=True):
                _dot(axis, place, dot, dot.figures[number])
            axis.set_title(panel.title, fontsize=8.5, loc="left", pad=13)
            axis.set_yticks(places, [dot.name for dot in rows], fontsize=7.5)
            axis.set_ylim(places[-1] + 0.7, -0.7)
        handles = [
            Line2D([], [], color=colour, marker=marker, label=legend[look])
            for look, (colour, marker) in LOOKS.items()
            if look in legend
        ]
        if any(dot.hollow for dot in rows):
            handles.append(Line2D([], [], color="#777777", marker="o", markerfacecolor="white", linewidth=0,
                                  label="open: projected, or CNNs of one pretraining"))  # fmt: skip
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5)
        figure.suptitle(note, fontsize=8, color="#a03010", x=0.01, ha="left")
        save(figure, path, dpi)


def _dot(axis: "Axes", place: float, dot: Dot, found: Interval | None) -> None:
    colour, marker = LOOKS.get(dot.look, PLAIN)
    if found is None:
        axis.annotate(
            "n/a", (0.01, place), xycoords=("axes fraction", "data"), fontsize=7, color="#777777", va="center"
        )
        return
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [place, place], color=colour, linewidth=1.3, solid_capstyle="butt", zorder=2)
    face = "white" if dot.hollow else colour
    size = 9 if marker == "|" else 6
    axis.plot(found.value, place, marker, color=colour, markerfacecolor=face, markersize=size, zorder=3)


def label_fractions(
    path: Path, panels: "Mapping[str, Sequence[CurvePoint]]", title: str, floor: float | None, note: str, dpi: int
) -> None:
    """A metric by the share of its half of the train patients, a panel for each state of the CNN, a line for each arm.

    Each interval is that of one arm; that of a difference, paired by patient, is narrower.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4 * len(panels) + 0.4, 3.2), layout="constrained", sharey=True, squeeze=False
        )
        arms = list(dict.fromkeys(point.arm for points in panels.values() for point in points))
        for axis, (state, points) in zip(axes[0], panels.items(), strict=True):
            fraction_lines(axis, points, arms, floor)
            axis.set_title(state, fontsize=9, loc="left")
        axes[0, 0].set_ylabel(title)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", fontsize=8)
        figure.suptitle(note, fontsize=8, color="#a03010", x=0.01, ha="left")
        save(figure, path, dpi)


def sizes(path: Path, rows: "Sequence[SizeRow]", note: str, dpi: int) -> None:
    """AUC by lesion size, a panel for each label, a line for each variant; under each bin its slices and patients.

    A bin without an AUC has no mark.
    """
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
                range(len(first)),
                [f"{_size_range(r.low, r.high)}\nn={r.slices} / {r.patients}" for r in first],
                fontsize=7,
            )
        axes[0, 0].set_ylabel("AUC, test")
        axes[1, 0].set_ylabel("AUC, test")
        figure.supxlabel("Area of the blood on the slice, mm² (n: positive slices / patients)", fontsize=8.5)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right center", fontsize=7.5)
        figure.suptitle(note, fontsize=8, color="#a03010", x=0.01, ha="left")
        save(figure, path, dpi)


def _size_range(low: float, high: float) -> str:
    return f"< {high:g}" if not low else f"≥ {low:g}" if high == float("inf") else f"{low:g}–{high:g}"


def fraction_lines(axis: "Axes", points: "Sequence[CurvePoint]", arms: Sequence[str], floor: float | None) -> None:
    """A line with intervals for each of the arms, by the share of its half of the patients; `floor`: prevalences."""
    for number, arm in enumerate(arms):
        mine = [point for point in points if point.arm == arm]
        beside = 1.04 ** (number - (len(arms) - 1) / 2)  # intervals stand beside each other
        bars(
            axis, [100 * point.fraction * beside for point in mine], [point.estimate for point in mine],
            [*COLOURS, "#e69f00"][number % 5], "os^DXv*P"[number % 8] + "-", arm,
        )  # fmt: skip
    if floor is not None:
        axis.axhline(floor, color="#999999", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axis.annotate("prevalences", (1, floor), xycoords=("axes fraction", "data"), xytext=(0, 2),
                      textcoords="offset points", ha="right", color="#666666", fontsize=7)  # fmt: skip
    axis.set_xscale("log")
    shares = sorted({100 * point.fraction for point in points})
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("share of its half of the train patients, %")


def bars(
    axis: "Axes", x: Sequence[float], found: "Sequence[Estimate]", colour: str, look: str, label: str | None = None
) -> None:
    """Values with their intervals; `look`: marker and line as `errorbar` takes them."""
    values = [each.value for each in found]
    ends = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
    axis.errorbar(
        x, values, yerr=ends, fmt=look, color=colour, markersize=4.5, linewidth=1.2, elinewidth=1, label=label
    )
