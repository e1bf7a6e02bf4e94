"""Yes or no at a threshold: thresholds are chosen on val, what they give is counted on test."""

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.metrics import Floats
from evaluation.resampling import Statistic, mean_of


def threshold_at(truth: npt.NDArray[Any], score: npt.NDArray[Any], wanted: str, level: float) -> float:
    """The score from which on a slice is called positive, chosen on val (both classes must be there).

    `wanted`: "specificity", the lowest threshold that keeps it at `level` or above; "sensitivity", the highest one.
    """
    from sklearn.metrics import roc_curve

    false, true, thresholds = roc_curve(truth, score, drop_intermediate=False)
    tolerance = 1e-12  # of sums of shares
    if wanted == "specificity":
        place = np.flatnonzero(false <= 1 - level + tolerance)[-1]
    else:
        place = np.flatnonzero(true >= level - tolerance)[0]
    # The first threshold is infinite, 'nobody'; a number just above the highest score says the same.
    return float(thresholds[place]) if np.isfinite(thresholds[place]) else float(np.nextafter(score.max(), np.inf))


def sensitivity_of(truth: npt.NDArray[Any], called: npt.NDArray[np.bool_], owner: npt.NDArray[np.int64]) -> Statistic:
    """Share of positive slices that are called positive."""
    return mean_of(called, owner, truth > 0)


def specificity_of(truth: npt.NDArray[Any], called: npt.NDArray[np.bool_], owner: npt.NDArray[np.int64]) -> Statistic:
    """Share of negative slices that are called negative."""
    return mean_of(~called, owner, truth == 0)


def predictive_values_of(
    sensitivity: Statistic, specificity: Statistic, prevalence: float
) -> tuple[Statistic, Statistic]:
    """Positive and negative predictive value at a stated prevalence, by Bayes' rule; NaN where nothing is called so."""

    def positive(draws: Floats) -> Floats:
        true, false = prevalence * sensitivity(draws), (1 - prevalence) * (1 - specificity(draws))
        return _share(true, true + false)

    def negative(draws: Floats) -> Floats:
        true, false = (1 - prevalence) * specificity(draws), prevalence * (1 - sensitivity(draws))
        return _share(true, true + false)

    return positive, negative


def roc_on_grid(truth: npt.NDArray[Any], score: npt.NDArray[Any], grid: Floats) -> Floats:
    """The best true positive rate with a false positive rate at or below each of the grid's."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, score, drop_intermediate=False)
    return np.asarray(true[np.searchsorted(false, grid + 1e-12, side="right") - 1], dtype=np.float64)


def precision_on_grid(truth: npt.NDArray[Any], score: npt.NDArray[Any], grid: Floats) -> Floats:
    """The precision at the highest threshold whose recall reaches each of the grid's."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, score)
    rising = recall[::-1][1:]  # without the point (0, 1), which no threshold has
    return np.asarray(precision[::-1][1:][np.searchsorted(rising, grid - 1e-12, side="left")], dtype=np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
