"""Figures of merit of six-label scores. n slices, k labels; truth is 0/1, probabilities are float64 in 0 … 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from settings.errors import BadArtifact

Floats = npt.NDArray[np.float64]
CLIP = 1e-15  # what Kaggle's metric clips at
FEW = 10  # patients of the rarer class below which an AUC is not given: the count stands in its place


def label_weights(names: Sequence[str]) -> Floats:
    """The competition's weight of each label: `any` counts twice."""
    return np.array([2.0 if name == "any" else 1.0 for name in names])


def sigmoid(logits: npt.NDArray[Any]) -> Floats:
    """Logits to probabilities, in float64, without overflow."""
    from scipy.special import expit

    return np.asarray(expit(logits.astype(np.float64)), dtype=np.float64)


def log_losses(truth: npt.NDArray[Any], probability: Floats, clip: float = CLIP) -> Floats:
    """Binary cross entropy of every answer, in nats (n×k)."""
    p = probability.clip(clip, 1 - clip)
    return np.asarray(-np.where(truth > 0, np.log(p), np.log1p(-p)), dtype=np.float64)


def weighted_log_loss(truth: npt.NDArray[Any], probability: Floats, weights: Floats, clip: float = CLIP) -> float:
    """The competition's score: weighted mean over labels (normalised by the sum of weights), mean over slices."""
    return float((log_losses(truth, probability, clip).mean(axis=0) @ weights) / weights.sum())


def mean_accuracy(truth: npt.NDArray[Any], probability: Floats) -> float:
    """The paper's accuracy: share of right answers at 0.5 over all labels of all slices."""
    return float(((probability > 0.5) == (truth > 0)).mean())


def auc(truth: npt.NDArray[Any], score: npt.NDArray[Any]) -> float | None:
    """Area under the ROC curve of one label (ties count half); None where all slices are of one class."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score)) if 0 < truth.sum() < len(truth) else None


def average_precision(truth: npt.NDArray[Any], score: npt.NDArray[Any]) -> float | None:
    """Average precision of one label (sum of precision times rise of recall); None without a positive slice."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, score)) if truth.any() else None


def class_patients(truth: npt.NDArray[Any], patients: npt.NDArray[Any]) -> tuple[int, int]:
    """Patients with a positive slice of one label, and with a negative one. `patients`: of each slice."""
    return len(np.unique(patients[truth > 0])), len(np.unique(patients[truth == 0]))


def counts(truth: npt.NDArray[Any], patients: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Slices and patients, and of each label the positive ones."""
    who = np.asarray(patients)
    return {
        "slices": len(truth),
        "patients": len(np.unique(who)),
        "positive_slices": {name: int(truth[:, i].sum()) for i, name in enumerate(names)},
        "positive_patients": {name: len(np.unique(who[truth[:, i] > 0])) for i, name in enumerate(names)},
    }


def summary(
    truth: npt.NDArray[Any], probability: Floats, patients: Sequence[str], names: Sequence[str], clip: float = CLIP
) -> dict[str, Any]:
    """Every figure of one part, as JSON takes it.

    An AUC or average precision is None where it is not defined, and with fewer than FEW patients of either
    class.

    `mean_auc` is over the `auc_labels` that have one. Raises BadArtifact for a probability that is no number, and
    for an empty part.
    """
    if not len(truth):
        raise BadArtifact("a part has no labelled slice; check split_ct and the label CSV")
    if not np.isfinite(probability).all():
        raise BadArtifact("a score is not a number; the head that gave it is broken: train it again")
    found = counts(truth, patients, names)
    losses = log_losses(truth, probability, clip).mean(axis=0)
    who = np.asarray(patients)
    labels = {}
    for i, name in enumerate(names):
        enough = min(class_patients(truth[:, i], who)) >= FEW
        labels[name] = {
            "positive_slices": found["positive_slices"][name],
            "positive_patients": found["positive_patients"][name],
            "log_loss": float(losses[i]),
            "accuracy": float(((probability[:, i] > 0.5) == (truth[:, i] > 0)).mean()),
            "auc": auc(truth[:, i], probability[:, i]) if enough else None,
            "average_precision": average_precision(truth[:, i], probability[:, i]) if enough else None,
        }
    defined = [label["auc"] for label in labels.values() if label["auc"] is not None]
    return {
        "slices": found["slices"],
        "patients": found["patients"],
        "weighted_log_loss": weighted_log_loss(truth, probability, label_weights(names), clip),
        "equal_log_loss": float(losses.mean()),
        "mean_accuracy": mean_accuracy(truth, probability),
        "mean_auc": float(np.mean(defined)) if defined else None,
        "auc_labels": len(defined),
        "auc_any": labels["any"]["auc"] if "any" in labels else None,
        "labels": labels,
    }
