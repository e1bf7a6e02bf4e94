"""Scores of made-up networks over made-up patients."""

from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.parameters import Evaluate
from evaluation.scores import Scores
from tests.evaluation.made import LABELS

PARAMETERS: dict[str, Any] = {
    "clip": 1e-15, "batch": 4, "intervals": {"replicates": 200, "confidence": 0.95, "seed": 0}, "bins": 10,
    "sensitivity": 0.9, "specificity": 0.9, "prevalence": 0.1, "top": 3, "occlude": 6,
}  # fmt: skip
EVALUATE = Evaluate(**PARAMETERS)


def made_scores(seed: int, patients: int = 60, slices: int = 8, skill: float = 1.5, prefix: str = "p") -> Scores:
    """Bleeds on about half of the slices of some patients; logits share a patient's habit and are not calibrated.

    `skill`: by how much a positive slice's logit is higher, in standard deviations of the noise; 0 is chance.
    """
    rng = np.random.default_rng(seed)
    sick = rng.random((patients, 1, 5)) < 0.35
    truth = (sick & (rng.random((patients, slices, 5)) < 0.5)).astype(np.uint8)
    truth = np.concatenate([truth, truth.max(axis=2, keepdims=True)], axis=2).reshape(-1, 6)
    habit = np.repeat(rng.normal(size=(patients, 6)), slices, axis=0)
    logits = skill * 2 * (truth - 0.5) + rng.normal(size=truth.shape) + 0.5 * habit
    who = [f"{prefix}{n // slices:03d}" for n in range(len(truth))]
    scans = [f"scan-{patient}" for patient in who]
    return Scores([f"{prefix}{n:05d}" for n in range(len(truth))], who, truth, logits, scans)


def table_of(*parts: tuple[str, Scores]) -> pa.Table:
    """A score table of named parts."""
    columns: dict[str, Any] = {
        "id": [id_ for _, scores in parts for id_ in scores.ids],
        "patient": [who for _, scores in parts for who in scores.patients],
        "part": [name for name, scores in parts for _ in scores.ids],
        "series": [scan for _, scores in parts for scan in scores.series],
    }
    truth, logits = (np.concatenate([getattr(s, name) for _, s in parts]) for name in ("truth", "logits"))
    columns |= {label: truth[:, i] for i, label in enumerate(LABELS)}
    columns |= {f"logit_{label}": logits[:, i].astype(np.float32) for i, label in enumerate(LABELS)}
    return pa.table(columns)
