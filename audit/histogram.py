"""Do the translated photos have CT's Hounsfield units? Beside it, how far the val patients are from each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]  # n×H×W×1, one channel over the HU range
BOOTSTRAPS = 500

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
    translated: Levels, ct: Levels, patients: Sequence[str], low: float, high: float,
    band: tuple[float, float] | None = None, confidence: float = 0.95, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Translated images against CT views (both one-channel uint8 over low … high; `patients`: whose each view is).

    `distance` (HU) with `low`, `high`, percentiles when photos and patients (with all their views) are drawn anew;
    `bands` of both; `between_patients`: the distances of each patient's histogram from that of the others together
    (median, largest, how many), the scale to read `distance` on, None for a single patient. `band` (HU): of the pixels
    within it alone, the histograms renormalised; `inside` is their share in both, and the distance None without any.
    """
    hu = level_hu(low, high)
    within = np.ones(256, dtype=bool) if band is None else (hu >= band[0]) & (hu <= band[1])
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    ours = np.stack([np.bincount(image.ravel(), minlength=256) for image in translated])
    views = np.stack([np.bincount(image.ravel(), minlength=256) for image in ct])
    theirs = np.stack([views[owner == i].sum(axis=0) for i in range(len(names))])  # by patient

    def apart(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
        first, second = first * within, second * within
        return distance(first, second, low, high) if first.any() and second.any() else float("nan")

    between = [apart(patient, theirs.sum(axis=0) - patient) for patient in theirs] if len(names) > 1 else []
    between = [value for value in between if np.isfinite(value)]
    random = np.random.default_rng(seed)
    drawn = [
        apart(
            random.multinomial(len(ours), np.full(len(ours), 1 / len(ours))) @ ours,
            random.multinomial(len(theirs), np.full(len(theirs), 1 / len(theirs))) @ theirs,
        )
        for _ in range(BOOTSTRAPS)
    ]
    finite = [value for value in drawn if np.isfinite(value)]
    ends = [float(np.quantile(finite, q)) if finite else None for q in ((1 - confidence) / 2, (1 + confidence) / 2)]
    both = {"translated": ours.sum(axis=0) / ours.sum(), "ct": theirs.sum(axis=0) / theirs.sum()}
    return {
        "distance": apart(both["translated"], both["ct"]) if finite else None,
        "low": ends[0],
        "high": ends[1],
        "between_patients": {"median": float(np.median(between)), "largest": max(between), "patients": len(between)}
        if between
        else None,
        "bands": {name: band_shares(shares, low, high) for name, shares in both.items()},
        "inside": {name: float(shares[within].sum()) for name, shares in both.items()},
    }


def patient_shares(ct: npt.NDArray[np.uint8], patients: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """`level_shares` of each patient's views."""
    owner = np.asarray(patients)
    return {patient: level_shares(ct[owner == patient]) for patient in sorted(set(patients))}
