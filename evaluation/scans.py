"""From slices to scans: is there a bleed anywhere in the series?

A patient may have several scans, on different days; each is answered for itself, while whatever is drawn, split or left
out stays the patient.
Two answers. The maximum over a scan's slices needs no fit, but rises with the number of slices by chance alone. The
aggregate is a logistic regression for each label on the highest logit, the mean of the `top` highest (a bleed is seldom
on one slice only; a false alarm often is) and the logarithm of the number of slices (which takes the rise back); it is
fitted on val and so calibrated as far as val's scans carry. What is chosen on val by its answers (thresholds,
temperature) takes those of regressions that did not see the patient.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.metrics import Floats
from evaluation.resampling import owners
from evaluation.scores import Scores
from settings.errors import BadArtifact

PARTS = 5  # of val's patients, each answered by the regression of the others


def by_maximum(slices: Scores) -> Scores:
    """One row a scan, in order of name: positive where a slice is, and the highest logit of each label."""
    owner, scans = _scans(slices)
    names, first = np.unique(np.asarray(slices.series), return_index=True)
    truth = np.zeros((scans, slices.truth.shape[1]), dtype=np.uint8)
    logits = np.full(truth.shape, -np.inf)
    np.maximum.at(truth, owner, slices.truth)
    np.maximum.at(logits, owner, slices.logits)
    return Scores(names.tolist(), [slices.patients[row] for row in first], truth, logits, names.tolist())


def features(slices: Scores, top: int) -> Floats:
    """Scans × labels × 3: highest logit, mean of the `top` highest, log of the number of slices."""
    owner, scans = _scans(slices)
    starts = np.cumsum(np.bincount(owner, minlength=scans))[:-1]
    found = np.empty((scans, slices.truth.shape[1], 3))
    for scan, own in enumerate(np.split(slices.logits[np.argsort(owner, kind="stable")], starts)):
        ranked = np.sort(own, axis=0)[::-1]
        found[scan, :, 0], found[scan, :, 1] = ranked[0], ranked[:top].mean(axis=0)
        found[scan, :, 2] = np.log(len(ranked))
    return found


@dataclass(frozen=True)
class Aggregate:
    """The fitted regression of each label: logit = intercept + weights · (features - middle) / spread."""

    top: int
    middle: Floats  # labels×3
    spread: Floats
    weights: Floats
    intercept: Floats  # labels

    def __call__(self, slices: Scores) -> Scores:
        """One row a scan with the aggregated logit."""
        standard = (features(slices, self.top) - self.middle) / self.spread
        return replace(by_maximum(slices), logits=(standard * self.weights).sum(axis=2) + self.intercept)


def fit_aggregate(val: Scores, top: int) -> Aggregate:
    """Fitted on val's scans, with the unit normal prior on standardised features.

    A label whose scans in val are of one class gets their prevalence (half a scan added), so no order.
    """
    from sklearn.linear_model import LogisticRegression

    truth, x = by_maximum(val).truth, features(val, top)
    middle, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)  # all with one number of slices
    weights, intercept = np.zeros(middle.shape), np.empty(len(middle))
    for label, positive in enumerate(truth.T):
        if 0 < positive.sum() < len(positive):
            fitted = LogisticRegression().fit((x[:, label] - middle[label]) / spread[label], positive)
            weights[label], intercept[label] = fitted.coef_[0], fitted.intercept_[0]
        else:
            share = (positive.sum() + 0.5) / (len(positive) + 1)
            intercept[label] = np.log(share / (1 - share))
    return Aggregate(top, middle, spread, weights, intercept)


def out_of_fold(val: Scores, top: int) -> Scores:
    """Val's scans, each with the logit of an aggregate that was fitted without its patient."""
    scans = by_maximum(val)
    owner, patients = owners(val.patients)
    part = np.random.default_rng(0).permutation(patients) % PARTS
    of_scan = part[owners(scans.patients)[0]]
    logits = np.empty(scans.logits.shape)
    for number in np.unique(part):
        inside = part[owner] == number
        if inside.all():
            raise BadArtifact("val has one patient; give split_ct.val_share more")
        logits[of_scan == number] = fit_aggregate(_rows(val, ~inside), top)(_rows(val, inside)).logits
    return replace(scans, logits=logits)


def _scans(slices: Scores) -> tuple[npt.NDArray[np.int64], int]:
    """The number of each slice's scan, in order of name, and how many there are. BadArtifact if they are not known."""
    if len(slices.series) != len(slices.ids):
        raise BadArtifact("scores: slices have no series; run `dvc repro evaluate`")
    return owners(slices.series)


def _rows(scores: Scores, chosen: npt.NDArray[np.bool_]) -> Scores:
    rows = np.flatnonzero(chosen)
    ids, patients, series = ([names[row] for row in rows] for names in (scores.ids, scores.patients, scores.series))
    return Scores(ids, patients, scores.truth[rows], scores.logits[rows], series)


def as_json(aggregate: Aggregate, labels: list[str]) -> dict[str, Any]:
    """The regression in plain numbers, of each label: intercept and slopes on the unscaled features."""
    slopes = aggregate.weights / aggregate.spread
    intercepts = aggregate.intercept - (slopes * aggregate.middle).sum(axis=1)
    return {
        label: {
            "intercept": float(intercepts[i]),
            "highest": float(slopes[i, 0]),
            f"mean_of_{aggregate.top}_highest": float(slopes[i, 1]),
            "log_slices": float(slopes[i, 2]),
        }
        for i, label in enumerate(labels)
    }
