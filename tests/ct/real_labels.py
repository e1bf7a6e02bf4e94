"""The real label tables: `labels/` below SCOPEFORMER_REAL_DATA, or beside the photos that it links to."""

import csv
import gzip
import os
from pathlib import Path

import pytest


def label_table(name: str) -> list[dict[str, str]]:
    """Rows of a table, or the test is skipped."""
    root = Path(os.environ.get("SCOPEFORMER_REAL_DATA") or "missing")
    places = [root / "labels" / name, (root / "imagenet").resolve().parent / "labels" / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        pytest.skip(f"SCOPEFORMER_REAL_DATA names no folder with labels/{name}")
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))
