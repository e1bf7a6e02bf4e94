"""The flow of n: files → rejects → slices → patients → parts, and the positives of each part. Opens no label file."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from corpus.card import read_card

PARTS = {  # row of the table: part, half, what it is for
    "train": ("train", "", "both halves"),
    "train, CNN half": ("train", "cnn", "fits CNNs"),
    "train, head half": ("train", "head", "fits heads"),
    "val": ("val", "", "makes every choice"),
    "test": ("test", "", "gives every figure"),
    "hold-out": ("hold-out", "", "seen by nobody"),
    "unlabelled": ("unlabelled", "", "has no labels"),
}


def flow(
    ct: Path,
    photos: Path,
    parts: Path,
    floors: Mapping[str, Any],
    details: Mapping[str, Any],
    provenance: Sequence[Path],
) -> dict[str, Any]:
    """Of the slices (`ct`: artifacts/ct/hu-<side>) and photos, for the template.

    `floors`: floors.json, which counts the positives of train and test; `details`: one evaluation's, of val.
    """
    labelled = {
        "train": floors["train"],
        "train, CNN half": floors["train"].get("cnn"),
        "train, head half": floors["train"].get("head"),
        "val": _counts(details["val"]),
        "test": floors["test"],
    }
    table = pq.read_table(parts).to_pylist()
    rows = []
    for name, (part, half, purpose) in PARTS.items():
        inside = [row for row in table if row["part"] == part and (not half or row["half"] == half)]
        if inside:
            counted = {"slices": len(inside), "patients": len({row["patient"] for row in inside})}
            rows.append({"name": name, "purpose": purpose, **counted, "labelled": labelled.get(name)})
    split = next((digest for path in provenance for name, digest in _inputs(path) if name.endswith(parts.name)), "")
    return {
        "ct": read_card(ct, "hu"),
        "photos": read_card(photos, "photos"),
        "photo_parts": dict(Counter(pq.read_table(photos / "index.parquet").column("part").to_pylist())),
        "rows": rows,
        "labels": list(floors["test"]["positive_slices"]),
        "split": split[:16],
    }


def _counts(part: Mapping[str, Any]) -> dict[str, Any]:
    labels = part["labels"]
    return {"slices": part["slices"], "patients": part["patients"]} | {
        key: {name: label[key] for name, label in labels.items()} for key in ("positive_slices", "positive_patients")
    }


def _inputs(path: Path) -> list[tuple[str, str]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["inputs"].items())
