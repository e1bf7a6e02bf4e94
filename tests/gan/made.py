"""Corpora and a translator small enough for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from torch import Tensor

from corpus.images import finish_images
from corpus.shards import write_shard
from gan.parameters import GanGenerate, GanTrain
from gan.train import Sources, make_translator, open_sources
from gan.translator import Translator
from settings.places import Local
from training.loop import Run
from training.precision import Decisions
from training.ranks import start

HU_SIDE, PHOTO_SIDE = 64, 40
HU_RANGE = [-150.0, 230.0]
WINDOWS = [[40, 80], [80, 200], [40, 380]]
PARAMETERS: dict[str, Any] = {
    "side": 32, "images": 24, "batch": 2, "evaluate_every": 8, "samples": 3,
    "channels": 1, "upsampling": "nearest",
    "ngf": 2, "blocks": 1, "ndf": 2, "field": 11, "field_share": 0.5,
    "adversarial": 1, "cycle": 10, "identity": 5, "consistency": 0, "noise_sd": 3, "round_fakes": True, "pool": 4,
    "learning_rate": 1e-3, "beta1": 0.5, "constant_share": 0.5, "ema_half_life": 8,
    "ct_view": "crops", "ct_zoom": [1, 3], "ct_tissue": 0.6, "ct_rotate": 180, "ct_flip": True,
    "photo_zoom": [1, 1.25], "photo_flip": True,
    "watch": {
        "after": 0, "half_life": 8, "fatal_after": 0, "change": 0.05, "levels": 0.95, "diversity": 0.3, "likeness": 0.2,
        "domination": 0.7, "confusion": 0.3, "telling": 0.05, "checkerboard": 3, "hidden": 1.5, "hidden_noise": 6,
        "oversaturated": 0.25, "kid": 4,
    },
}  # fmt: skip
GENERATE = GanGenerate(batch=2, side=None)


def parameters(**change: Any) -> GanTrain:
    return GanTrain(**{**PARAMETERS, **change})


def disc(side: int, radius: float, shift: tuple[float, float] = (0, 0)) -> npt.NDArray[np.bool_]:
    """A head: what lies within `radius` (of half the side) of the shifted middle."""
    at = (np.arange(side) + 0.5) / side * 2 - 1
    return (at[:, None] - shift[1]) ** 2 + (at[None] - shift[0]) ** 2 < radius**2


def make_corpora(root: Path, photos: int = 14, slices: int = 9, held_out: int = 4) -> None:
    """Photos, slices and their ids under `root`/artifacts; the last `held_out` of each are val and white.

    Patients have two slices each.
    """
    random = np.random.default_rng(0)
    folder = root / "artifacts/photos"
    folder.mkdir(parents=True)
    images = random.integers(0, 256, (photos, PHOTO_SIDE, PHOTO_SIDE, 3), dtype=np.uint8)
    images[-held_out:] = 255
    write_shard(folder, 0, images)
    parts = ["train"] * (photos - held_out) + ["val"] * held_out
    table = {"id": [f"p{i}" for i in range(photos)], "part": parts, "wnid": [f"n{i % 2}" for i in range(photos)]}
    labels = pa.array([i % 2 for i in range(photos)], pa.int32())
    finish_images(
        folder, "photos", pa.table({**table, "label": labels}), [], classes=["n0", "n1"], class_names=["a", "b"]
    )

    folder = root / f"artifacts/ct/hu-{HU_SIDE}"
    folder.mkdir(parents=True)
    hu = np.where(disc(HU_SIDE, 0.8), random.integers(90, 180, (slices, HU_SIDE, HU_SIDE)), 0).astype(np.uint8)
    hu[-held_out:] = 255
    write_shard(folder, 0, hu[..., None])
    ids = [f"s{i}" for i in range(slices)]
    owners = [f"p{i // 2}" for i in range(slices)]
    finish_images(folder, "hu", pa.table({"id": ids, "patient": owners}), [], hu_range=HU_RANGE, windows=WINDOWS)
    (root / "artifacts/split").mkdir()
    for part, of in (("train", ids[:-held_out]), ("val", ids[-held_out:])):
        pq.write_table(pa.table({"id": of}), root / f"artifacts/split/{part}-ids.parquet")


def make_sources(root: Path, chosen: GanTrain) -> Sources:
    if not (root / "artifacts").exists():
        make_corpora(root)
    train, val = (
        pq.read_table(root / f"artifacts/split/{part}-ids.parquet").column("id").to_pylist()
        for part in ("train", "val")
    )
    return open_sources(root / "artifacts/photos", root / f"artifacts/ct/hu-{HU_SIDE}", train, val, chosen)


def make_run(work: Path, chosen: GanTrain) -> Run:
    work.mkdir(exist_ok=True)
    return Run("gan-train", work, chosen.images, chosen.batch, 3, chosen.evaluate_every, save_every_seconds=0)


def make_task(
    root: Path, work: Path, classifier: Callable[[Tensor], Tensor] | None = None, **change: Any
) -> Translator:
    chosen = parameters(**change)
    return make_translator(make_sources(root, chosen), chosen, make_run(work, chosen), *machine(), None, classifier)


def machine() -> tuple[Accelerator, Decisions]:
    return start(Local(device="cpu", precision="fp32"))


def images(count: int, side: int, seed: int = 0, channels: int = 1) -> Tensor:
    """n×channels×side×side in -1…1."""
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
