"""Feature maps of a frozen CNN for every slice of a corpus: float16 shards, resumed by shard, shared by ranks."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backbones.augment import to_input
from backbones.feature_cnn import FeatureCnn
from corpus.card import write_card
from corpus.images import Images
from corpus.shards import rows_per_shard, shard_path, shard_ranges, write_shard
from settings.errors import BadArtifact
from settings.places import require_space
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

PREFIX = "maps"


def extract(
    cnn: FeatureCnn, name: str, ct: Path, side: int, batch: int, work: Path, out: Path, accelerator: "Accelerator", decisions: Decisions
) -> tuple[int, int, int]:
    """Write the maps (N×C×H×W float16) of all slices of `ct` in its row order; returns (C, H, W).

    A shard that is whole under `work` is not computed again; shards are hard-linked into `out`.
    """
    images = Images(ct, "windows")
    cnn.to(accelerator.device, memory_format=decisions.memory_format)  # type: ignore[call-overload]

    def maps(rows: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(images.shards.read(rows)).to(accelerator.device)
        x = to_input(pixels, side).contiguous(memory_format=decisions.memory_format)
        with decisions.autocast():
            found = cnn(x).float()
        if not bool(torch.isfinite(found).all()):
            raise BadArtifact(f"features of {name}: not finite; its weights are damaged: rerun what trained it")
        limit = torch.finfo(torch.float16).max
        return found.clamp(-limit, limit).half().cpu().numpy()

    shape = maps(np.arange(1)).shape[1:]
    row_bytes = 2 * int(np.prod(shape))
    if accelerator.is_main_process:
        require_space(out, row_bytes * len(images))
    ranges = shard_ranges(len(images), rows_per_shard(row_bytes, len(images), at_least=accelerator.num_processes))
    for number, (start, stop) in enumerate(ranges):
        if number % accelerator.num_processes != accelerator.process_index or shard_path(work, number, PREFIX).exists():
            continue
        parts = [maps(np.arange(first, min(first + batch, stop))) for first in range(start, stop, batch)]
        write_shard(work, number, np.concatenate(parts), PREFIX)
        print(f"features of {name}: {stop:,}/{len(images):,} slices", flush=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for number in range(len(ranges)):
            os.link(shard_path(work, number, PREFIX), shard_path(out, number, PREFIX))
        shutil.copyfile(ct / "index.parquet", out / "index.parquet")
        write_card(out, "features", cnn=name, count=len(images), channels=shape[0], grid=list(shape[1:]), side=side)
    accelerator.wait_for_everyone()
    return shape
