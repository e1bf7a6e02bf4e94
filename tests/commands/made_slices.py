"""Prepared slices and a split of them, small, for commands that explain them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.images import Reject, finish_images
from corpus.manifest import short_hash
from corpus.shards import write_shard
from ct.labels import LABELS

WINDOWS = [[40, 80], [80, 200], [40, 380]]
PATIENTS = ["p0001", "p0001", "p0002", "p0002", "p0003", "p0003"]
PARTS = ["train", "train", "val", "val", "test", "test"]
IDS = [short_hash(f"ID_{n}") for n in range(6)]


def write_slices(root: Path) -> Path:
    """`artifacts/ct/hu-32` below `root`: slice n has the value 40 n; returns its folder."""
    folder = root / "artifacts/ct/hu-32"
    folder.mkdir(parents=True)
    pixels = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None] * 40, (6, 32, 32, 1))
    write_shard(folder, 0, np.ascontiguousarray(pixels))
    index = pa.table(
        {
            "id": IDS,
            "patient": PATIENTS,
            "series": [f"s{patient[1:]}" for patient in PATIENTS],
            "position": pa.array([5.0 * n for n in range(6)], pa.float32()),
        }
    )
    content: dict[str, Any] = {
        "header_kinds": {"implicit LE, 12-bit unsigned": 4, "explicit LE, 16-bit signed": 2},
        "warnings": {"body-part": 1},
        "odd_series": {"tilted": 2},
    }
    rejects = [Reject("0" * 16, "not-ct", "modality is MR"), Reject("1" * 16, "not-ct", "modality is MR")]
    finish_images(folder, "hu", index, rejects, windows=WINDOWS, hu_range=[-150, 230], **content)
    return folder


def write_split(root: Path) -> None:
    """`artifacts/split`: the second slice of each patient has a subdural bleed, the last one has no label."""
    folder = root / "artifacts/split"
    folder.mkdir(parents=True)
    parts = {"id": IDS, "patient": PATIENTS, "part": PARTS, "half": [""] * 6}
    pq.write_table(pa.table(parts), folder / "parts.parquet")
    for part in ("train", "val", "test"):
        rows = [n for n in range(5) if PARTS[n] == part]
        bleeds = {name: pa.array([n % 2 * (name in ("subdural", "any")) for n in rows], pa.uint8()) for name in LABELS}
        pq.write_table(pa.table({"id": [IDS[n] for n in rows], **bleeds}), folder / f"labels-{part}.parquet")
