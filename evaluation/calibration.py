"""Are the probabilities what they say? Temperature scaling and the expected calibration error, label by label.

Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), for independent binary labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.metrics import Floats, sigmoid
from evaluation.resampling import Statistic

COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are tried


@dataclass(frozen=True)
class Temperature:
    """What a label's logits are divided by, and whether it was fitted on that label or on all together."""

    value: float
    own: bool


def fit_temperature(truth: npt.NDArray[Any], logits: npt.NDArray[Any], weights: Floats) -> float:
    """The temperature with the least weighted log loss over all columns (n×k each; weights of the k columns).

    The loss is convex in 1/T. Where it has no minimum (no error on these slices) the end of the range is given.
    """
    from scipy.optimize import minimize_scalar

    margins = np.where(truth > 0, logits, -logits).astype(np.float64)

    def loss(log_inverse: float) -> float:
        return float((np.logaddexp(0, -margins * np.exp(log_inverse)) @ weights).mean())

    found = minimize_scalar(loss, bounds=(-np.log(HOTTEST), -np.log(COLDEST)), method="bounded")
    return float(np.exp(-found.x))


def fit_temperatures(
    truth: npt.NDArray[Any], logits: npt.NDArray[Any], weights: Floats, positive_patients: list[int], few: int
) -> list[Temperature]:
    """One temperature a label: six yes-or-no questions of their own, and none can change a label's order of slices.

    A label with fewer than `few` positive patients cannot carry its own: it has the one fitted on all labels.
    """
    common = fit_temperature(truth, logits, weights)
    return [
        Temperature(fit_temperature(truth[:, [i]], logits[:, [i]], np.ones(1)), own=True)
        if count >= few
        else Temperature(common, own=False)
        for i, count in enumerate(positive_patients)
    ]


def mass_bins(probability: Floats, bins: int) -> npt.NDArray[np.int64]:
    """The bin of each answer: bins of equal count, 0 … bins-1; equal answers share one, so that some may be empty."""
    edges = np.unique(np.quantile(probability, np.arange(1, bins) / bins))
    return np.searchsorted(edges, probability, side="right").astype(np.int64)


def calibration_error_of(
    truth: npt.NDArray[Any], probability: Floats, owner: npt.NDArray[np.int64], bins: int
) -> Statistic:
    """Expected calibration error of one label: mean over answers of |mean answer - share of positives| of their bin.

    The bins are those of all slices; a draw of patients fills them anew. Biased upwards where bins hold few slices.
    """
    patients = int(owner.max()) + 1
    cell = owner * bins + mass_bins(probability, bins)
    gaps = np.bincount(cell, probability - truth, minlength=patients * bins).reshape(patients, bins)
    counts = np.bincount(owner, minlength=patients)

    def statistic(draws: Floats) -> Floats:
        return np.asarray(np.abs(draws @ gaps).sum(axis=1) / np.maximum(draws @ counts, 1), dtype=np.float64)

    return statistic


def reliability(truth: npt.NDArray[Any], probability: Floats, bins: int) -> list[dict[str, float]]:
    """The reliability curve: of each bin that is not empty the mean answer, the share of positives, the count."""
    where = mass_bins(probability, bins)
    count = np.bincount(where, minlength=bins)
    answers, positives = (np.bincount(where, value, minlength=bins) for value in (probability, truth))
    return [
        {"answered": float(answers[b] / n), "observed": float(positives[b] / n), "count": int(n)}
        for b, n in enumerate(count)
        if n
    ]


def scaled(logits: npt.NDArray[Any], temperatures: list[Temperature]) -> Floats:
    """Probabilities after temperature scaling (n×k)."""
    return sigmoid(logits / np.array([temperature.value for temperature in temperatures]))
