"""The labelled slices of a part, as `split-ct` wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from settings.errors import BadArtifact


@dataclass(frozen=True)
class Labelled:
    """n slices: ids, their patients and halves ("cnn", "head", "" outside train), truth (n×k uint8, 0 or 1)."""

    ids: list[str]
    patients: list[str]
    halves: list[str]
    truth: npt.NDArray[np.uint8]


def read_labelled(labels: Path, parts: Path, part: str, names: Sequence[str]) -> Labelled:
    """The slices of `labels` (labels-<part>.parquet) with their patients.

    Raises BadArtifact if one of them is not of that part: the files are of different splits.
    """
    table = pq.read_table(labels)
    ids: list[str] = table.column("id").to_pylist()
    rows = {row["id"]: row for row in pq.read_table(parts).to_pylist()}
    for id_ in ids:
        if id_ not in rows or rows[id_]["part"] != part:
            raise BadArtifact(f"{labels}: slice {id_} is not of part {part} in {parts.name}; run `dvc repro split-ct`")
    truth = np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.uint8)
    return Labelled(ids, [rows[id_]["patient"] for id_ in ids], [rows[id_]["half"] for id_ in ids], truth)
