"""Do the translated photos have CT's Hounsfield units? Beside it, how far the val patients are from each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# HU limits of what a value can be; beyond the range of the one-channel form all is its lowest or highest level.
BANDS = {
    "air": (-np.inf, -130.0),
    "fat": (-130.0, -20.0),
    "fluid": (-20.0, 15.0),
    "brain": (15.0, 50.0),
    "dense": (50.0, 130.0),  # blood, vessels, calcification, edges of bone
    "bone": (130.0, np.inf),
}


def level_shares(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Share of each of the 256 levels over all pixels of one-channel images of any shape."""
    counts = np.bincount(values.ravel(), minlength=256)
    return counts / counts.sum()


def level_hu(low: float, high: float) -> npt.NDArray[np.float64]:
    """HU of each of the 256 levels of the one-channel form over low … high."""
    return np.linspace(low, high, 256)


def band_shares(shares: npt.NDArray[np.float64], low: float, high: float) -> dict[str, float]:
    """Share of pixels in each of `BANDS` (from, to]: they add up to 1. `shares` from `level_shares`."""
    hu = level_hu(low, high)
    return {name: float(shares[(hu > start) & (hu <= end)].sum()) for name, (start, end) in BANDS.items()}


def distance(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], low: float, high: float) -> float:
    """Earth mover's distance of two histograms in HU: how far the mean pixel has to move."""
    from scipy.stats import wasserstein_distance

    hu = level_hu(low, high)
    return float(wasserstein_distance(hu, hu, first, second))


def compare(
    translated: npt.NDArray[np.uint8], ct: npt.NDArray[np.uint8], patients: Sequence[str], low: float, high: float
) -> dict[str, Any]:
    """Translated images against CT views (both one-channel uint8 over low … high; `patients`: whose each view is).

    `distance` (HU), `bands` of both, and `between_patients`: the distances of each patient's histogram from that of
    the others together (median, largest, how many), the scale to read `distance` on; None for a single patient.
    """
    ours, theirs = level_shares(translated), level_shares(ct)
    own = patient_shares(ct, patients)
    apart = []
    for patient in own:
        others = [i for i, owner in enumerate(patients) if owner != patient]
        if others:
            apart.append(distance(own[patient], level_shares(ct[others]), low, high))
    spread = {"median": float(np.median(apart)), "largest": max(apart), "patients": len(apart)} if apart else None
    return {
        "distance": distance(ours, theirs, low, high),
        "between_patients": spread,
        "bands": {"translated": band_shares(ours, low, high), "ct": band_shares(theirs, low, high)},
    }


def patient_shares(ct: npt.NDArray[np.uint8], patients: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """`level_shares` of each patient's views."""
    owner = np.asarray(patients)
    return {patient: level_shares(ct[owner == patient]) for patient in sorted(set(patients))}


def plot(
    path: Path,
    translated: npt.NDArray[np.uint8],
    ct: npt.NDArray[np.uint8],
    patients: Sequence[str],
    low: float,
    high: float,
) -> None:
    """Both histograms over HU as a PNG, each val patient a thin line. The outermost bins hold all beyond."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def binned(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return shares.reshape(64, 4).sum(axis=1)

    hu = level_hu(low, high).reshape(64, 4).mean(axis=1)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for i, shares in enumerate(patient_shares(ct, patients).values()):
        axes.step(
            hu, binned(shares), where="mid", color="0.75", linewidth=0.7, label=None if i else "CT, each val patient"
        )
    axes.step(hu, binned(level_shares(ct)), where="mid", color="black", linewidth=1.6, label="CT, val patients")
    axes.step(
        hu, binned(level_shares(translated)), where="mid", color="#c03020", linewidth=1.6, label="translated photos"
    )
    axes.set(xlabel="Hounsfield units", ylabel="share of pixels", yscale="log", xlim=(low, high))
    axes.set_ylim(bottom=1e-4)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
