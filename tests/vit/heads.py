"""Small cached maps and heads for the tests of the head."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from corpus.card import write_card
from corpus.shards import write_shard
from ct.labels import LABELS
from tests.backbones import made
from training.loop import Run
from vit.head import build_head
from vit.inputs import Inputs
from vit.parameters import Context, Shape, Vit, VitTrain
from vit.train import HeadTraining, Part, SeriesTraining

VIT = Vit(dim=12, depth=2, heads=3, mlp_ratio=2, dropout=0.1, drop_path=0.1, pool="token")
CONTEXT = Context(dim=12, depth=1, heads=2, mlp_ratio=2, dropout=0.1, drop_path=0.0, reach=2, length=2)
TRAIN = VitTrain(
    images=24, batch=4, learning_rate=0.003, warmup_share=0.1, weight_decay=0.05, ema_half_life=8, evaluate_every=12,
    flip=True, rotate=10, shift=0.05,
)  # fmt: skip


def maps(folder: Path, channels: int = 5, seed: int = 0, grid: int = 2, order: slice = slice(None)) -> Path:
    """fp16 maps of the slices of `made`, brighter where the slice bleeds; in two shards."""
    folder.mkdir(parents=True)
    truth = made.labels()
    values = np.random.default_rng(seed).normal(size=(len(truth), channels, grid, grid))
    values += 2 * truth[:, -1, None, None, None]
    write_shard(folder, 0, values[:20].astype(np.float16), "maps")
    write_shard(folder, 1, values[20:].astype(np.float16), "maps")
    pq.write_table(pa.table({"id": made.ids()[order], **made.places()}), folder / "index.parquet")
    write_card(
        folder, "features", cnn=folder.name, cached=True, labels=[], count=len(truth), channels=channels,
        grid=[grid, grid], weights="0" * 64, side=32, windows=[[40, 80], [80, 200], [40, 380]], parameters=10, flops=20,
    )  # fmt: skip
    return folder


def part(first: int, last: int) -> Part:
    """Rows first … last - 1 with their labels: 12 … 23 are the head half of `made`, 24 … 29 val."""
    return np.arange(first, last), made.labels()[first:last].astype(np.float32)


def shape(**other: Any) -> Shape:
    """The shape of a head: a transformer on the maps as they are, but for what is said."""
    return Shape(**{"encoder": "vit", "patch": 1, "projection": None, **other})


def task(
    root: Path, work: Path, machine: Any, every: float = 1000, context: Context | None = None
) -> tuple[HeadTraining, Run]:
    """A head on two CNNs' maps; the data are made once."""
    if not (root / "a").exists():
        maps(root / "a")
        maps(root / "b", seed=1)
    torch.manual_seed(0)
    inputs = Inputs([root / "a", root / "b"])
    run = made.run(work, 24, every=every)
    head = build_head(inputs.sources, shape(context=context), VIT, len(LABELS))
    given = (head, inputs, part(12, 24), part(24, 30), TRAIN, run, *machine)
    return SeriesTraining(context.length, *given) if context else HeadTraining(*given), run
