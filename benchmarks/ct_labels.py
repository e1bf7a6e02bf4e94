"""What do a label CSV and a split of the competition's size cost?

    python -m benchmarks.ct_labels [--out benchmarks/results/ct_labels.json]

RSNA's long form for 752,803 slices, 4.5 million rows in random order of slices, is read with hashed ids and its own;
17,000 patients with RSNA's shares of positives are dealt into ten folds. Wall time and, on a busy machine of more
meaning, the process's CPU time, least of three.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from ct.labels import LABELS, read_labels
from ct.stratify import stratify
from settings.places import ROOT

SLICES, PATIENTS, FOLDS = 752_803, 17_000, 10
POSITIVE = (0.004, 0.048, 0.035, 0.047, 0.063)  # share of slices, in order of LABELS
POSITIVE_PATIENTS = (0.012, 0.15, 0.1, 0.15, 0.15)


def long_csv(slices: int) -> bytes:
    """RSNA's long form of so many slices with random labels."""
    random = np.random.default_rng(0)
    value = random.random((slices, 5)) < POSITIVE
    value = np.column_stack([value, value.any(axis=1)]).astype(int)
    ids = (f"ID_{number:09x}" for number in random.permutation(slices).tolist())
    lines = (
        f"{id_}_{name},{label}" for id_, row in zip(ids, value.tolist(), strict=True)
        for name, label in zip(LABELS, row, strict=True)
    )  # fmt: skip
    return "\n".join(["ID,Label", *lines]).encode()


def deal() -> None:
    """Ten folds of as many patients as the competition has."""
    random = np.random.default_rng(0)
    positive = random.random((PATIENTS, 5)) < POSITIVE_PATIENTS
    positive = np.column_stack([positive, positive.any(axis=1)])
    names = [f"p{number:05d}" for number in range(PATIENTS)]
    stratify(names, positive, random.integers(20, 60, PATIENTS), [1 / FOLDS] * FOLDS, "0:folds")


def least(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds, least of three."""
    wall, cpu = [], []
    for _ in range(3):
        started, before = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - before)
    return {"wall_s": min(wall), "cpu_s": min(cpu)}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/ct_labels.json")
@click.option("--slices", default=SLICES, help="Fewer, to try it.")
def main(out: Path, slices: int) -> None:
    """Measure, print, and write the figures to a JSON file."""
    content = long_csv(slices)
    found = {
        "slices": slices,
        "labels, hashed ids": least(lambda: read_labels(content, hashed=True)),
        "labels, RSNA's ids": least(lambda: read_labels(content, hashed=False)),
        f"{PATIENTS:,} patients, {FOLDS} folds": least(deal),
    }
    print(json.dumps(found, indent=1))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
