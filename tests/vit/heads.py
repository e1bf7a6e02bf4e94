"""Small cached maps and heads for the tests of the head."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from backbones.finetune import labelled_rows
from corpus.card import write_card
from corpus.shards import write_shard
from tests.backbones import made
from training.loop import Run
from vit.head import Head, Sources
from vit.parameters import Vit, VitTrain
from vit.train import HeadTraining

VIT = Vit(dim=12, depth=2, heads=3, mlp_ratio=2, dropout=0.1, drop_path=0.1, pool="token")
TRAIN = VitTrain(images=24, batch=4, learning_rate=0.003, warmup_share=0.1, weight_decay=0.05, evaluate_every=12)


def maps(folder: Path, channels: int = 5, seed: int = 0, grid: int = 2, order: slice = slice(None)) -> Path:
    """fp16 maps of the slices of `made`, brighter where the slice bleeds; in two shards."""
    folder.mkdir(parents=True)
    truth = made.labels()
    values = np.random.default_rng(seed).normal(size=(len(truth), channels, grid, grid))
    values += 2 * truth[:, -1, None, None, None]
    write_shard(folder, 0, values[:20].astype(np.float16), "maps")
    write_shard(folder, 1, values[20:].astype(np.float16), "maps")
    pq.write_table(pa.table({"id": made.ids()[order]}), folder / "index.parquet")
    write_card(folder, "features", cnn=folder.name, count=len(truth), channels=channels, grid=[grid, grid], side=32)
    return folder


def task(root: Path, work: Path, machine: Any, every: float = 1000) -> tuple[HeadTraining, Run]:
    """A head on two CNNs' maps; the data are made once."""
    if not (root / "a").exists():
        maps(root / "a")
        maps(root / "b", seed=1)
        made.split(root / "split")
    labels = [root / f"split/labels-{part}.parquet" for part in ("train", "val")]
    parts = root / "split/parts.parquet"
    import torch

    torch.manual_seed(0)
    sources = Sources([root / "a", root / "b"])
    fit = labelled_rows(root / "a", labels[0], parts, "train", "head")
    val = labelled_rows(root / "a", labels[1], parts, "val")
    run = made.run(work, 24, every=every)
    return HeadTraining(Head(sources.shapes, 1, None, VIT), sources, fit, val, TRAIN, run, *machine), run
