"""What is known of CT slices across artifacts, for people to look at: their part and their labels."""

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ct.labels import LABELS


class Split(NamedTuple):
    """What split-ct wrote, as far as it is there."""

    parts: pa.Table | None  # id, patient, part, half
    labels: dict[str, pa.Table]  # part → id and LABELS, of the part's labelled slices


def read_split(folder: Path) -> Split:
    """`artifacts/split`, or nothing of it."""
    parts = folder / "parts.parquet"
    labels = {
        path.stem.removeprefix("labels-"): pq.read_table(path) for path in sorted(folder.glob("labels-*.parquet"))
    }
    return Split(pq.read_table(parts) if parts.exists() else None, labels)


def positives(row: dict[str, Any]) -> list[str]:
    """Names of the labels that a row says are there."""
    return [name for name in LABELS if row[name]]
