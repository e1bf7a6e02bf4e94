"""The figure of a comparison: label-fraction curves, primary differences, arms, and Figure 2, called paper-style."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from evaluation.arms import Group
from evaluation.compare import Comparison, label_fraction_curve
from evaluation.intervals import Estimate
from evaluation.plots import LOOKS, bars, fraction_lines, point
from evaluation.style import COLOURS, STYLE, save
from evaluation.table import start_names
from evaluation.verdict import LEAD, PREVALENCES, STATES

DPI = 120
Line = tuple[str, Estimate]  # what stands beside it, and the difference


def draw(
    path: Path, found: Comparison, groups: Sequence[Group], params: Mapping[str, Any], level: float, note: str
) -> None:
    """Write the PNG. `level`: confidence of the primary contrasts' thin lines; `note`: what the data can prove."""
    differences = {(c.variant, c.baseline): c.estimate for c in found.contrasts if c.metric == LEAD}
    primary, others = ([group for group in groups if bool(group.primary) == kind] for kind in (True, False))
    panels: list[Callable[[Axes], None]] = []  # those that have something to show
    for state in STATES:
        if arms := [group for group in primary if group.state == state]:
            panels.append(partial(_curve, found=found, groups=arms, state=state))
    lines = [
        (f"{group.name_of(pair)}\n{group.state}, {group.fraction:.0%}", differences[pair])
        for group in primary
        for pair in group.primary
    ]
    if lines:
        title = "Primary: difference of weighted log loss\n(below 0: translated is better)"
        panels.append(partial(_forest, lines=lines, level=level, title=title))
    for state in STATES:
        chosen = [group for group in others if group.state == state]
        if lines := [(group.name_of(pair), differences[pair]) for group in chosen for pair in group.contrasts]:
            title = f"Arms, {STATES[state]}:\ndifference of weighted log loss"
            panels.append(partial(_forest, lines=lines, level=None, title=title))
    if rows := _paper_rows(found, params):
        panels.append(partial(_paper_style, found=found, params=params, shown=rows))
    with plt.rc_context(STYLE):
        columns = 2 if len(panels) == 4 else max(1, min(3, len(panels)))
        tall = max(1, -(-len(panels) // columns))
        figure, axes = plt.subplots(
            tall, columns, figsize=(4.2 * columns, 3.7 * tall), layout="constrained", squeeze=False
        )
        for axis, panel in zip_longest(axes.flat, panels):
            (panel or Axes.set_axis_off)(axis)
        figure.suptitle(note, fontsize=8.5, color="#a03010", x=0.01, ha="left")
        save(figure, path, DPI)


def _curve(axis: Axes, found: Comparison, groups: Sequence[Group], state: str) -> None:
    """Loss by share of its half of the patients, a line an arm. An arm's interval is wider than a difference's."""
    arms: dict[str, dict[float, str]] = {}
    for group in groups:
        for arm, variant in group.arms.items():
            arms.setdefault(arm, {})[group.fraction] = variant
    axis.set_title(f"Label fraction, {STATES[state]}:\nweighted log loss", fontsize=9, loc="left")
    floor = found.row(PREVALENCES, LEAD)
    fraction_lines(axis, label_fraction_curve(found, arms, LEAD), list(arms), floor.estimate.value if floor else None)
    axis.legend(fontsize=7.5)


def _forest(axis: Axes, lines: Sequence[Line], level: float | None, title: str) -> None:
    """Differences, one under another: thick their intervals, thin those at `level`; a dot for each seed."""
    axis.set_title(title, fontsize=9, loc="left")
    for y, (_, found) in enumerate(lines):
        if level:
            wide = found.at(level)
            axis.plot([wide.low, wide.high], [y, y], "-", color=COLOURS[0], linewidth=0.8)
        axis.plot([found.low, found.high], [y, y], "-", color=COLOURS[0], linewidth=2.4, solid_capstyle="butt")
        axis.plot(found.seeds, [y + 0.22] * len(found.seeds), ".", color="#999999", markersize=4)
        axis.plot(found.value, y, "o", color=COLOURS[0], markersize=5)
    axis.axvline(0, color="#666666", linewidth=1)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    words = f"{lines[0][1].confidence:.0%} interval" + (f"; thin: {level:.4g}, all together" if level else "")
    axis.set_xlabel(f"{words}; dots: seeds", fontsize=8)
    axis.set_yticks(range(len(lines)), [name for name, _ in lines], fontsize=7.5)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")


def _paper_rows(found: Comparison, params: Mapping[str, Any]) -> dict[str, Any]:
    """Variants of the paper's table, and others of several CNNs."""
    return {
        name: entry
        for name, entry in params["variants"].items()
        if (entry.get("paper") or len(entry["cnns"]) > 1) and found.row(name, LEAD)
    }


def _paper_style(axis: Axes, found: Comparison, params: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """Loss by the number of CNNs and their pretraining; states are mixed, as the paper mixes them."""
    axis.set_title("Figure 2, paper-style (mixes states):\nweighted log loss", fontsize=9, loc="left")
    beside: dict[int, int] = {}
    seen: set[str] = set()
    names = start_names(params["prepare_photos"]["source"], params["imagenet"] is not None)
    corpora = {"ImageNet": names["imagenet"], "GAN": names["gan-pretrain"]}
    widest = max(Counter(len(entry["cnns"]) for entry in shown.values()).values())
    step = min(0.16, 0.8 / widest)  # those of one number end before those of the next
    for name, entry in shown.items():
        metrics = {metric: _value(found, name, metric) for metric in (LEAD, "mean_accuracy", "mean_auc")}
        where = point(name, entry, params["cnns"], metrics)
        row = found.row(name, LEAD)
        assert row is not None  # chosen above
        x = where.cnns + step * (place := beside.get(where.cnns, 0))
        beside[where.cnns] = place + 1
        colour, marker = LOOKS[where.pretraining]
        words = " + ".join(corpora.get(word, word) for word in where.pretraining.split(" + "))
        bars(axis, [x], [row.estimate], colour, marker, None if words in seen else words)
        seen.add(words)
        axis.annotate(name, (x, row.estimate.high), xytext=(0, 3), textcoords="offset points", rotation=90, fontsize=7,
                      ha="center", va="bottom", color="#333333")  # fmt: skip
    if floor := found.row(PREVALENCES, LEAD):
        axis.axhline(floor.estimate.value, color="#999999", linewidth=1, linestyle=(0, (4, 3)))
    axis.set_xticks(range(max(beside) + 1))
    axis.margins(y=0.5)
    axis.legend(fontsize=7, loc="lower left")
    axis.set_xlabel("CNNs in front of the head")


def _value(found: Comparison, variant: str, metric: str) -> float | None:
    row = found.row(variant, metric)
    return row.estimate.value if row else None
