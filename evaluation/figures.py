"""The figures of merit that variants are compared by, as functions of the patients drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from evaluation.intervals import Estimate, Sampled, estimate, sample
from evaluation.metrics import FEW, Floats, class_patients, label_weights, log_losses
from evaluation.parameters import Intervals
from evaluation.resampling import (
    Statistic,
    auc_of,
    draw_patients,
    mean_of,
    mean_statistic,
    owners,
)

LOSS = (0.0, float("inf"))
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Figure:
    """A statistic, the patients that carry it (of the rarer class where it needs both), its bounds, its sense."""

    statistic: Statistic
    patients: int
    bounds: tuple[float, float]
    higher_is_better: bool

    def sampled(self, draws: Floats) -> Sampled:
        """On the patients as they are and on every draw."""
        return sample(self.statistic, draws, self.patients)

    def estimated(self, draws: Floats, confidence: float) -> Estimate:
        """Of one trained network: the interval is of patients alone."""
        return estimate([self.sampled(draws)], confidence, self.bounds)


def figures_of(
    truth: npt.NDArray[Any],
    probability: Floats,
    score: npt.NDArray[Any],
    patients: Sequence[str],
    labels: Sequence[str],
    clip: float,
) -> dict[str, Figure]:
    """By name: the two log losses, the accuracy, `auc_<label>`, `mean_auc`.

    All arrays n×k; `score` is what ranks are taken of. Labels with fewer than FEW positive or FEW negative patients
    have no AUC and are not in the mean.
    """
    owner, count = owners(patients)
    losses = log_losses(truth, probability, clip)
    weights = label_weights(labels)
    right = (probability > 0.5) == (truth > 0)
    found = {
        "weighted_log_loss": Figure(mean_of(losses @ weights / weights.sum(), owner), count, LOSS, False),
        "equal_log_loss": Figure(mean_of(losses.mean(axis=1), owner), count, LOSS, False),
        "mean_accuracy": Figure(mean_of(right.mean(axis=1), owner), count, SHARE, True),
    }
    areas: list[Figure] = []
    for i, name in enumerate(labels):
        rarer = min(class_patients(truth[:, i], owner))
        if rarer >= FEW:
            areas.append(Figure(auc_of(truth[:, i], score[:, i], owner), rarer, SHARE, True))
            found[f"auc_{name}"] = areas[-1]
    if areas:
        mean = mean_statistic([area.statistic for area in areas])
        found["mean_auc"] = Figure(mean, min(area.patients for area in areas), SHARE, True)
    return found


def with_intervals(
    truth: npt.NDArray[Any],
    probability: Floats,
    score: npt.NDArray[Any],
    patients: Sequence[str],
    labels: Sequence[str],
    clip: float,
    intervals: Intervals,
) -> dict[str, dict[str, Any]]:
    """Every figure of `figures_of` with its interval over patients, as JSON takes it."""
    draws = draw_patients(owners(patients)[1], intervals.replicates, intervals.seed)
    found = figures_of(truth, probability, score, patients, labels, clip)
    return {name: figure.estimated(draws, intervals.confidence).as_dict() for name, figure in found.items()}
