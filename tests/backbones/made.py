"""Small corpora, splits and machines for the tests of CNNs and heads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.images import finish_images
from corpus.shards import write_shard
from ct.labels import LABELS
from settings.places import Local
from training.loop import Run
from training.ranks import start

PATIENTS, SLICES = 12, 3
PARTS = ["train"] * 8 + ["val"] * 2 + ["test"] * 2


def machine() -> Any:
    return start(Local(device="cpu", precision="fp32"))


def run(work: Path, total: int, batch: int = 4, every: float = 1000) -> Run:
    return Run("training", work, total, batch, seed=3, evaluate_every=total // 2, save_every_seconds=every)


def ct(folder: Path, side: int = 32) -> Path:
    """12 patients × 3 slices; a slice is bright where its label is 1, so that it can be learnt."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = labels()
    pixels = rng.integers(60, 100, (len(truth), side, side, 3), dtype=np.uint8)
    for i, row in enumerate(truth):
        pixels[i, : side // 2, : side // 2] += np.uint8(120 * row[-1])
    write_shard(folder, 0, pixels[:20])
    write_shard(folder, 1, pixels[20:])
    patient = [f"p{i // SLICES:04d}" for i in range(len(truth))]
    index = pa.table({"id": ids(), "patient": patient, **places()})
    finish_images(folder, "windows", index, [], windows=[[40, 80], [80, 200], [40, 380]])
    return folder


def places() -> dict[str, pa.Array]:
    """A series a patient, 5 mm between slices."""
    number = np.arange(PATIENTS * SLICES)
    position = pa.array(number % SLICES * 5.0, pa.float32())
    return {"series": pa.array([f"s{i // SLICES:04d}" for i in number]), "position": position}


def ids() -> list[str]:
    return [f"slice{i:02d}" for i in range(PATIENTS * SLICES)]


def labels() -> np.ndarray:
    """Every second slice bleeds, in turn of another kind."""
    truth = np.zeros((PATIENTS * SLICES, 6), np.uint8)
    for i in range(0, len(truth), 2):
        truth[i, [i // 2 % 5, 5]] = 1
    return truth


def split(folder: Path) -> tuple[tuple[Path, Path], Path]:
    """((labels-train, labels-val), parts); the first half of the train patients is the CNN half."""
    folder.mkdir(parents=True)
    patient = [i // SLICES for i in range(PATIENTS * SLICES)]
    part = [PARTS[p] for p in patient]
    half = [("cnn" if p < PARTS.count("train") // 2 else "head") if PARTS[p] == "train" else "" for p in patient]
    parts = {"id": ids(), "patient": [f"p{p:04d}" for p in patient], "part": part, "half": half}
    pq.write_table(pa.table(parts), folder / "parts.parquet")
    for name in ("train", "val"):
        chosen = [i for i, p in enumerate(part) if p == name]
        columns = {label: labels()[chosen, k] for k, label in enumerate(LABELS)}
        pq.write_table(pa.table({"id": [ids()[i] for i in chosen], **columns}), folder / f"labels-{name}.parquet")
    return (folder / "labels-train.parquet", folder / "labels-val.parquet"), folder / "parts.parquet"


def photos(folder: Path, side: int = 32) -> Path:
    """Two classes, dark and bright; 16 train and 8 val."""
    folder.mkdir(parents=True)
    label = np.arange(24) % 2
    pixels = np.random.default_rng(1).integers(0, 60, (24, side, side, 3)) + 150 * label[:, None, None, None]
    write_shard(folder, 0, pixels.astype(np.uint8))
    index = {"id": [f"p{i}" for i in range(24)], "part": ["train"] * 16 + ["val"] * 8, "label": label.astype(np.int32)}
    finish_images(folder, "photos", pa.table(index), [], classes=["n1", "n2"], class_names=["dark", "bright"])
    return folder
