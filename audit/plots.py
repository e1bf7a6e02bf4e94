"""The audit's figures as PNGs; the same figures give the same bytes."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audit.histogram import level_hu, level_shares, patient_shares
from audit.kinds import NAMES
from audit.probe import CONDITIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, OTHER, CT = "#c03020", "#555f6b", "#1f6f9f"
DPI = 130


def probe_plot(path: Path, probe: Mapping[str, Any], ours: Collection[str] = ("translated",)) -> None:
    """A panel for each condition, a line for each form of the photos: share named rightly, with its interval."""
    forms = ordered(probe["clean"])
    figure = _figure(8.2, 0.9 + 0.27 * len(forms))
    panels = figure.subplots(1, len(CONDITIONS), sharey=True, sharex=True)
    for axes, condition in zip(panels, CONDITIONS, strict=True):
        for y, form in enumerate(forms):
            found = probe[condition][form]
            _point(axes, y, [100 * found[end] for end in ("share", "low", "high")], form in ours)
        axes.axvline(100 * probe["chance"], color="0.6", linewidth=0.8, linestyle=":")
        axes.set(title=CONDITIONS[condition], xlim=(0, 102))
        axes.title.set_fontsize(9)
    _names(panels[0], forms, ours)
    panels[0].set_xlabel("% of held-out photos (dotted: chance)", loc="left")
    _save(figure, path)


def kid_plot(path: Path, kid: Mapping[str, Any], ours: Collection[str] = ("translated",)) -> None:
    """A panel for each kind of CT view: KID of each form with its interval, CT from CT as a band."""
    forms = ordered(next(iter(kid.values()))["kinds"])
    figure = _figure(8.2, 1.0 + 0.27 * len(forms))
    panels = figure.subplots(1, len(kid), sharey=True, squeeze=False)[0]
    for axes, (views, found) in zip(panels, kid.items(), strict=True):
        for y, form in enumerate(forms):
            _point(axes, y, [1000 * found["kinds"][form][end] for end in ("kid", "low", "high")], form in ours)
        if found["ct"]:
            low, high, middle = (1000 * found["ct"][end] for end in ("low", "high", "kid"))
            axes.axvspan(low, high, color=CT, alpha=0.18, linewidth=0)
            axes.axvline(middle, color=CT, linewidth=1)
        axes.set_title(f"to CT, {'crops inside the head' if views == 'crops' else 'whole slices'}", fontsize=9)
    _names(panels[0], forms, ours)
    panels[0].set_xlabel("KID, 10⁻³ (blue: CT from CT, other patients)", loc="left")
    _save(figure, path)


def histogram_plot(
    path: Path,
    translated: npt.NDArray[np.uint8],
    ct: npt.NDArray[np.uint8],
    patients: Sequence[str],
    low: float,
    high: float,
    brain: tuple[float, float],
) -> None:
    """Histograms over HU, each val patient a thin line: all pixels (the outermost bins hold all beyond), and what looks
    like brain alone, renormalised."""
    figure = _figure(8.2, 3.2)
    hu = level_hu(low, high)
    for axes, band in zip(figure.subplots(1, 2), (None, brain), strict=True):
        within = np.ones(256, bool) if band is None else (hu >= band[0]) & (hu <= band[1])
        each = 4 if band is None else 2  # levels in a bin

        def binned(
            shares: npt.NDArray[np.float64], within: npt.NDArray[np.bool_] = within, each: int = each
        ) -> npt.NDArray[np.float64]:
            inside = np.where(within, shares, 0)
            return inside.reshape(-1, each).sum(axis=1) / max(inside.sum(), 1e-12)

        at = hu.reshape(-1, each).mean(axis=1)
        for i, shares in enumerate(patient_shares(ct, patients).values()):
            label = None if i else "CT, each val patient"
            axes.step(at, binned(shares), where="mid", color="0.75", linewidth=0.7, label=label)
        axes.step(at, binned(level_shares(ct)), where="mid", color="black", linewidth=1.5, label="CT, val patients")
        axes.step(at, binned(level_shares(translated)), where="mid", color=OURS, linewidth=1.5, label="translated")
        if band is None:
            axes.set(yscale="log", xlim=(low, high), title="all pixels", ylabel="share of pixels")
            axes.set_ylim(bottom=1e-4)
            axes.legend(frameon=False, fontsize=7)
        else:
            axes.set(xlim=band, title=f"what looks like brain ({band[0]:g} to {band[1]:g} HU)")
            axes.set_ylim(bottom=0)
        axes.title.set_fontsize(9)
        axes.set_xlabel("Hounsfield units")
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def ordered(forms: Mapping[str, Any]) -> list[str]:
    """Forms of the photos in the order of tables and plots: as in `NAMES`, others last."""
    known = [name for name in NAMES if name in forms]
    return [*known, *(name for name in forms if name not in NAMES)]


def _point(axes: "Axes", y: int, figures: Sequence[float], ours: bool) -> None:
    """A figure and the ends of its interval."""
    value, low, high = figures
    colour = OURS if ours else OTHER
    axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot([value], [y], "o", color=colour, markersize=5)


def _names(axes: "Axes", forms: Sequence[str], ours: Collection[str]) -> None:
    axes.set_yticks(range(len(forms)), [NAMES.get(form, form) for form in forms], fontsize=8)
    axes.set_ylim(len(forms) - 0.5, -0.5)
    for label, form in zip(axes.get_yticklabels(), forms, strict=True):
        label.set_color(OURS if form in ours else "black")


def _save(figure: "Figure", path: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_fontsize(8)
        axes.grid(axis="x", color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
