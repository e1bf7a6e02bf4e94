"""What size of bleed is found: AUC by the area of its blood on the slice. Only where masks exist, so on phantoms."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from evaluation.metrics import FEW, Floats, auc, class_patients
from settings.errors import BadArtifact

EDGES = (0.0, 60.0, 200.0, 600.0, float("inf"))  # mm²; 60 is a disc 9 mm across, 600 one of 28 mm


@dataclass(frozen=True)
class SizeRow:
    """One label's positive slices whose blood covers from `low` up to `high` mm², against all its negative slices."""

    variant: str
    label: str
    low: float
    high: float
    slices: int
    patients: int
    auc: float | None  # None: fewer than FEW patients with blood of this size, or without any


def read_areas(lesions: Path, ids: Sequence[str], labels: Sequence[str], hashed: bool) -> Floats:
    """n×k: mm² that each label's blood covers on each slice, 0 where it is not labelled; `any` is the sum of all.

    `lesions`: the folder with lesions.parquet; `hashed`: ids are hashes of the SOPInstanceUID. The last label is `any`.
    """
    columns = ["hash" if hashed else "id", "label", "labelled", "area_mm2"]
    table = pq.read_table(lesions / "lesions.parquet", columns=columns)
    row_of = {id_: row for row, id_ in enumerate(ids)}
    areas = np.zeros((len(ids), len(labels)))
    for id_, label, labelled, area in zip(*(column.to_pylist() for column in table.columns), strict=True):
        if labelled and id_ in row_of:
            areas[row_of[id_], labels.index(label)] = area
    areas[:, -1] = areas[:, :-1].sum(axis=1)
    return areas


def auc_by_size(
    variant: str, scores: Path, lesions: Path, labels: Sequence[str], hashed: bool, part: str = "test"
) -> list[SizeRow]:
    """AUC of every label in bins of EDGES, from `scores.parquet` of an evaluation.

    Raises BadArtifact if a positive slice has no area: scores and masks are of different phantoms.
    """
    table = pq.read_table(scores)
    table = table.filter(np.asarray(table.column("part").to_pylist()) == part)
    truth, logits = (
        np.stack([table.column(prefix + name).to_numpy() for name in labels], axis=1) for prefix in ("", "logit_")
    )
    areas = read_areas(lesions, table.column("id").to_pylist(), labels, hashed)
    if (areas[truth > 0] <= 0).any():
        raise BadArtifact(f"{lesions}: has no blood on a slice that {scores.parent.name} counts positive; `dvc repro`")
    patients = np.asarray(table.column("patient").to_pylist())
    rows = []
    for number, label in enumerate(labels):
        for low, high in pairwise(EDGES):
            inside = (truth[:, number] > 0) & (areas[:, number] >= low) & (areas[:, number] < high)
            kept = inside | (truth[:, number] == 0)
            positive, negative = class_patients(inside[kept], patients[kept])
            enough = min(positive, negative) >= FEW
            value = auc(_uint8(inside[kept]), logits[kept, number]) if enough else None
            rows.append(SizeRow(variant, label, low, high, int(inside.sum()), positive, value))
    return rows


def write_sizes(path: Path, rows: Sequence[SizeRow]) -> None:
    """`auc-by-size.csv`; an AUC that is not defined is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(SizeRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**asdict(row), "auc": "" if row.auc is None else f"{row.auc:.6f}"})


def _uint8(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return values.astype(np.uint8)
