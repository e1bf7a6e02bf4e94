"""What is reached without a network: the least that a head must beat. Fitted on train, scored on test."""

from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.windows import dequantise
from evaluation.metrics import Floats

NAMES = ("always-no", "prevalences", "slice-position", "hyperdense-area")


def always_no(count: int, labels: int) -> Floats:
    """'No' to everything, with full certainty (count×labels)."""
    return np.zeros((count, labels))


def prevalences(truth: npt.NDArray[np.uint8]) -> Floats:
    """Share of positive slices of each label; half a positive is added, so that a label never seen is not ruled out."""
    return np.asarray((truth.sum(axis=0) + 0.5) / (len(truth) + 1), dtype=np.float64)


def position_table(truth: npt.NDArray[np.uint8], place: npt.NDArray[Any], bins: int, smoothing: float) -> Floats:
    """Prevalence of each label in each bin of the slice's place (0 … 1) in its series (bins×labels).

    Shrunk to the prevalence over all bins, which counts as `smoothing` slices.
    """
    everywhere = prevalences(truth)
    where = place_bins(place, bins)
    seen = np.bincount(where, minlength=bins)[:, None]
    positive = np.stack([np.bincount(where, weights=column, minlength=bins) for column in truth.T], axis=1)
    return np.asarray((positive + smoothing * everywhere) / (seen + smoothing), dtype=np.float64)


def place_bins(place: npt.NDArray[Any], bins: int) -> npt.NDArray[np.int64]:
    """Number of the bin, 0 … bins-1, of each place."""
    return (np.asarray(place, dtype=np.float64) * bins).astype(np.int64).clip(0, bins - 1)


def inside_skull(hu: Floats, bone: float, erode: int) -> npt.NDArray[np.bool_]:
    """The inside of the head in one slice (H×W, HU): the largest region that bone encloses, `erode` pixels taken off.

    The same as filling the holes of the bone mask, but twenty times faster. Empty where bone encloses nothing: at the
    base, and above the vault.
    """
    from scipy.ndimage import binary_erosion, label

    regions, _ = label(hu < bone)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    sizes[edge] = 0
    inside = (regions == sizes.argmax()) & bool(sizes.any())
    return np.asarray(binary_erosion(inside, iterations=erode) if erode else inside, dtype=np.bool_)


def hyperdense_areas(
    values: npt.NDArray[np.uint8], stored: tuple[float, float], dense: tuple[float, float], bone: float, erode: float
) -> Floats:
    """Pixels of each slice inside the skull within `dense` (HU), as a share of the slice in per mille (n).

    `values`: n×H×W×1, linear over `stored` (HU). `erode`: share of the side.
    """
    areas = np.empty(len(values))
    for i, value in enumerate(values[..., 0]):
        hu = dequantise(value.astype(np.float64), *stored)
        inside = inside_skull(hu, bone, round(erode * value.shape[0]))
        areas[i] = 1000 * ((hu >= dense[0]) & (hu <= dense[1]) & inside).mean()
    return areas


def logistic(train: npt.NDArray[np.uint8], score: Floats, test_score: Floats) -> Floats:
    """Logistic regression of each label on the logarithm of a non-negative score, fitted on train (n_test×labels).

    A label that train has only one class of gets its prevalence. The score is standardised and the slope has the
    usual unit normal prior, so that a separable label keeps a finite loss.
    """
    from sklearn.linear_model import LogisticRegression

    log, test_log = np.log1p(score), np.log1p(test_score)
    middle, spread = log.mean(), log.std() or 1.0
    x, test_x = (log[:, None] - middle) / spread, (test_log[:, None] - middle) / spread
    answer = np.repeat(prevalences(train)[None], len(test_score), axis=0)
    for i, truth in enumerate(train.T):
        if 0 < truth.sum() < len(truth):
            answer[:, i] = LogisticRegression().fit(x, truth).predict_proba(test_x)[:, 1]
    return answer
