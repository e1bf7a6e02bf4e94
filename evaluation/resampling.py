"""Figures of merit as functions of how often each patient counts, so that patients can be drawn with replacement.

A `Statistic` takes draws (B×n: how often each of n patients counts) and gives B values; with ones it is the figure
itself. A draw in which it is not defined (no positive slice was drawn) gives NaN.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.metrics import Floats

Statistic = Callable[[Floats], Floats]
AT_ONCE = 500_000  # weights in memory: draws × slices


def draw_patients(patients: int, replicates: int, seed: int) -> Floats:
    """How often each patient is drawn when as many are drawn as there are, with replacement (replicates×patients)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=replicates).astype(np.float64)


def owners(patients: Sequence[str]) -> tuple[npt.NDArray[np.int64], int]:
    """The number of each slice's patient, 0 … n-1 in order of name, and n."""
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    return owner.astype(np.int64), len(names)


def mean_of(value: npt.NDArray[Any], owner: npt.NDArray[np.int64], weight: npt.NDArray[Any] | None = None) -> Statistic:
    """Weighted mean over slices, from each patient's sums of weighted value and of weight."""
    patients = int(owner.max()) + 1
    weights = np.ones(len(value)) if weight is None else np.asarray(weight, dtype=np.float64)
    top = np.bincount(owner, weights * value, minlength=patients)
    bottom = np.bincount(owner, weights, minlength=patients)

    def statistic(draws: Floats) -> Floats:
        return _divide(draws @ top, draws @ bottom)

    return statistic


def auc_of(truth: npt.NDArray[Any], score: npt.NDArray[Any], owner: npt.NDArray[np.int64]) -> Statistic:
    """Area under the ROC curve of one label (ties count half).

    How often a negative slice of patient p lies below a positive one of patient q is counted once; a draw weighs the
    counts. Patients × positive patients numbers are held.
    """
    patients = int(owner.max()) + 1
    positive = truth > 0
    some, column = np.unique(owner[positive], return_inverse=True)
    below = np.zeros((patients, len(some)))
    negatives = score[~positive][np.argsort(owner[~positive], kind="stable")]
    counts = np.bincount(owner[~positive], minlength=patients)
    for patient, own in enumerate(np.split(negatives, np.cumsum(counts)[:-1])):
        ordered = np.sort(own)
        first, last = (np.searchsorted(ordered, score[positive], side) for side in ("left", "right"))
        below[patient] = np.bincount(column, (first + last) / 2, minlength=len(some))
    found = np.bincount(column, minlength=len(some))

    def statistic(draws: Floats) -> Floats:
        drawn = draws[:, some]
        return _divide(((draws @ below) * drawn).sum(axis=1), (draws @ counts) * (drawn @ found))

    return statistic


def average_precision_of(truth: npt.NDArray[Any], score: npt.NDArray[Any], owner: npt.NDArray[np.int64]) -> Statistic:
    """Average precision of one label: sum of precision times rise of recall, equal scores as one step."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf) != 0)  # of each distinct score
    positive, who = truth[order].astype(np.float64), owner[order]
    rows = max(1, AT_ONCE // len(order))

    def some(draws: Floats) -> Floats:
        weights = draws[:, who]
        called = np.cumsum(weights, axis=1)[:, last]
        weights *= positive
        found = np.cumsum(weights, axis=1)[:, last]
        rise = np.diff(found, axis=1, prepend=0)
        return _divide((rise * found / np.maximum(called, 1)).sum(axis=1), found[:, -1])

    def statistic(draws: Floats) -> Floats:
        return np.concatenate([some(draws[start : start + rows]) for start in range(0, len(draws), rows)])

    return statistic


def mean_statistic(statistics: Sequence[Statistic]) -> Statistic:
    """Plain mean of several statistics."""

    def statistic(draws: Floats) -> Floats:
        return np.asarray(np.mean([each(draws) for each in statistics], axis=0), dtype=np.float64)

    return statistic


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
