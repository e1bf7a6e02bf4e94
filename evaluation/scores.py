"""`scores.parquet`: the labels and logits of every slice of an evaluation, from which all figures are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluation.labelled import Labelled
from settings.errors import BadArtifact


@dataclass(frozen=True)
class Scores:
    """n slices (or scans) of one part: ids, their patients, truth (n×k uint8, 0 or 1), logits (n×k float64).

    `series`: of each slice, a scan; empty where what answered knows of none.
    """

    ids: list[str]
    patients: list[str]
    truth: npt.NDArray[np.uint8]
    logits: npt.NDArray[np.float64]
    series: list[str] = field(default_factory=list)


def score_table(
    slices: Mapping[str, Labelled],
    logits: npt.NDArray[np.floating],
    labels: Sequence[str],
    series: Sequence[str] | None = None,
) -> pa.Table:
    """id, patient, part, series if given, the labels (uint8), their logits (float32).

    `logits` and `series`: the parts' rows, one after another.
    """
    truth = np.concatenate([part.truth for part in slices.values()])
    columns: dict[str, pa.Array] = {
        "id": pa.array([id_ for part in slices.values() for id_ in part.ids], pa.string()),
        "patient": pa.array([patient for part in slices.values() for patient in part.patients], pa.string()),
        "part": pa.array([name for name, part in slices.items() for _ in part.ids], pa.string()),
    }
    if series is not None:
        columns["series"] = pa.array(series, pa.string())
    columns |= {label: pa.array(truth[:, i]) for i, label in enumerate(labels)}
    columns |= {f"logit_{label}": pa.array(logits[:, i].astype(np.float32)) for i, label in enumerate(labels)}
    return pa.table(columns)


def scores_of(table: pa.Table, labels: Sequence[str], part: str = "test") -> Scores:
    """One part of a score table, in order of id. Raises BadArtifact without a row, or for a logit that is no number."""
    table = table.filter(np.asarray(table.column("part").to_pylist(), dtype=object) == part).sort_by("id")
    if not table.num_rows:
        raise BadArtifact(f"scores: no slice of part {part}; run `dvc repro evaluate`")
    truth, logits = (
        np.stack([table.column(prefix + name).to_numpy() for name in labels], axis=1) for prefix in ("", "logit_")
    )
    if not np.isfinite(logits).all():
        raise BadArtifact("a score is not a number; the head that gave it is broken: train it again")
    ids, patients = (table.column(name).to_pylist() for name in ("id", "patient"))
    series = table.column("series").to_pylist() if "series" in table.column_names else []
    return Scores(ids, patients, truth.astype(np.uint8), logits.astype(np.float64), series)
