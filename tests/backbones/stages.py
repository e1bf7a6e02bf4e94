"""Runs a stage file over a temporary checkout with small corpora, as `stages.run` would, without DVC."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from corpus.images import finish_images
from corpus.shards import Shards, write_shard
from settings.places import Local, RawRoots
from stages import run
from stages.run import Job
from tests.backbones import made

SMALL = "test_resnet.r160_in1k"
COMMON: dict[str, Any] = {
    "images": 8, "batch": 4, "learning_rate": 0.003, "warmup_share": 0.1, "weight_decay": 0.01, "evaluate_every": 8,
    "ema_half_life": 8,
    "flip": True,
}  # fmt: skip
OPTIMISE = {"optimiser": "adamw", "layer_decay": 1.0, "accumulate": 1, "clip_norm": None}
CNN_COMMON = {**COMMON, "optimise": OPTIMISE, "patience": None}
PRETRAIN = {**CNN_COMMON, "architecture": SMALL, "side": 32, "label_smoothing": 0.1, "crop_scale": [0.5, 1.0]}
FINETUNE = {**CNN_COMMON, "positive_share": None, "rotate": 10, "shift": 0.05}
CNN: dict[str, Any] = {
    "architecture": SMALL,
    "stage": "layer3",
    "side": 32,
    "start": "random",
    "trained_on": "ct",
    "seed": 1,
}
IMAGES = "artifacts/ct/images-32"
SPLIT = [f"artifacts/split/{name}.parquet" for name in ("parts", "labels-train", "labels-val")]


def checkout(root: Path) -> None:
    """Photos, their translations, CT images and a split; the test labels are no file that can be read."""
    made.photos(root / "artifacts/photos")
    made.ct(root / IMAGES)
    made.split(root / "artifacts/split")
    (root / "artifacts/split/labels-test.parquet").write_text("reading this fails")
    folder = root / "artifacts/translated"
    folder.mkdir()
    label = np.arange(24) % 2
    write_shard(folder, 0, (100 + 60 * label[:, None, None, None] * np.ones((1, 32, 32, 1))).astype(np.uint8))
    index = {"id": [f"p{i}" for i in range(24)], "part": ["train"] * 16 + ["val"] * 8, "label": label.astype(np.int32)}
    content: dict[str, Any] = {
        "hu_range": [-150, 230],
        "windows": [[40, 80], [80, 200], [40, 380]],
        "classes": ["n1", "n2"],
    }
    finish_images(folder, "hu", pa.table(index), [], **content)


def execute(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    parameters: dict[str, Any],
    inputs: list[str],
    out: str,
    weights: Path | None = None,
) -> Path:
    """Run a stage and put its out into place."""
    monkeypatch.setattr(run, "ROOT", root)
    work = root / "work" / name
    work.mkdir(parents=True)
    local = Local(device="cpu", precision="fp32", raw=RawRoots(weights=weights))
    job = Job(name, {"seed": 0, "imagenet": None, **parameters}, work, local, frozenset(inputs), frozenset([out]))
    job.out(out).mkdir(parents=True)
    import_module(f"stages.{name.partition('@')[0].replace('-', '_')}").run(job)
    job.out(out).rename(root / out)
    return root / out


def watch(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[int]]:
    """Rows that are read of each folder of shards from now on."""
    rows: dict[str, set[int]] = {}
    read = Shards.read

    def noted(self: Shards, wanted: Any) -> Any:
        rows.setdefault(self.folder.name, set()).update(int(row) for row in wanted)
        return read(self, wanted)

    monkeypatch.setattr(Shards, "read", noted)
    return rows
