"""`occlusion.parquet`: by how much each answer falls when a place of what a head reads is occluded."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq


class Falls(NamedTuple):
    """Of n slices: their ids, and the falls of k logits over h×w places (n×k×h×w float32)."""

    ids: list[str]
    values: npt.NDArray[np.float32]


def write_falls(path: Path, falls: Falls, labels: Sequence[str]) -> None:
    """A row a slice: id, rows, columns, and of each label the falls, row after row of places."""
    count, _, rows, columns = falls.values.shape
    table = {"id": pa.array(falls.ids, pa.string())}
    table |= {name: pa.array([size] * count, pa.int16()) for name, size in (("rows", rows), ("columns", columns))}
    for i, label in enumerate(labels):
        table[f"fall_{label}"] = pa.array(list(falls.values[:, i].reshape(count, -1)), pa.list_(pa.float32()))
    pq.write_table(pa.table(table), path)


def read_falls(path: Path, labels: Sequence[str]) -> Falls:
    """The inverse of `write_falls`."""
    table = pq.read_table(path)
    grid = (table["rows"][0].as_py(), table["columns"][0].as_py())
    of_labels = [np.array(table[f"fall_{label}"].to_pylist(), np.float32).reshape(-1, *grid) for label in labels]
    return Falls(table["id"].to_pylist(), np.stack(of_labels, axis=1))
