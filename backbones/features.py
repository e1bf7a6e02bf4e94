"""Feature maps of a frozen CNN for every slice, as fp16 shards in the order of the image corpus."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from backbones.augment import to_input
from backbones.feature_cnn import FeatureCnn
from corpus.card import write_card
from corpus.images import Images
from corpus.shards import link, rows_per_shard, shard_path, shard_ranges, write_shard
from settings.errors import BadArtifact
from settings.places import require_space
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARDS = 16  # at least so many where there are slices for them: ranks share shards out, whatever their number
PREFIX = "maps"


def extract(
    model: torch.nn.Module,
    stage: str,
    name: str,
    images: Images,
    batch: int,
    work: Path,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> tuple[int, int, int]:
    """Write the maps of all slices; returns their shape (C, h, w). Every rank takes every ranks-th shard.

    Shards are written to `work`, where a killed run left those that are whole, and linked into `out`.
    """
    cnn = FeatureCnn(model, stage).to(accelerator.device, memory_format=decisions.memory_format)  # type: ignore[call-overload]
    shape = cnn.shape(images.side)
    row_bytes = 2 * int(np.prod(shape))
    ranges = shard_ranges(len(images), rows_per_shard(row_bytes, len(images), SHARDS))
    if accelerator.is_main_process:
        require_space(work, len(images) * row_bytes)
    for number, (start, stop) in enumerate(ranges):
        mine = number % accelerator.num_processes == accelerator.process_index
        if mine and not shard_path(work, number, PREFIX).exists():
            batches = [np.arange(at, min(at + batch, stop)) for at in range(start, stop, batch)]
            write_shard(work, number, np.concatenate([maps(cnn, images, rows, decisions) for rows in batches]), PREFIX)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for number in range(len(ranges)):
            link(shard_path(work, number, PREFIX), shard_path(out, number, PREFIX))
        pq.write_table(images.index.select(["id"]), out / "index.parquet")
        write_card(
            out,
            "features",
            cnn=name,
            stage=stage,
            side=images.side,
            channels=shape[0],
            grid=list(shape[1:]),
            count=len(images),
        )
    accelerator.wait_for_everyone()
    return shape


def maps(cnn: FeatureCnn, images: Images, rows: npt.NDArray[np.int64], decisions: Decisions) -> npt.NDArray[np.float16]:
    """The maps of some slices (n×C×h×w); BadArtifact where a value is beyond fp16."""
    device = next(cnn.parameters()).device
    with torch.inference_mode(), decisions.autocast():
        pixels = torch.from_numpy(images.read_windows(rows)).to(device)
        x = to_input(pixels, images.side).contiguous(memory_format=decisions.memory_format)
        found = cnn(x).half().contiguous().cpu()
    if not bool(torch.isfinite(found).all()):
        raise BadArtifact("feature maps: a value is not finite in fp16; the CNN's weights are broken, train it again")
    values: npt.NDArray[np.float16] = found.numpy()
    return values
