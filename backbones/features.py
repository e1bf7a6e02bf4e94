"""A frozen CNN and what it makes of every slice: feature maps, and logits where it was fitted on CT.

Maps are cached as fp16 shards in the order of the image corpus, or made again whenever they are read, with the same
rounding. The folder holds the CNN either way, so that what reads maps needs to know of no other artifact.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from backbones.augment import to_input
from backbones.cost import cost
from backbones.feature_cnn import FeatureCnn, load_cnn, save_weights, weights_digest
from backbones.fitted import carry_fitted
from backbones.scaling import scale_of
from corpus.card import write_card
from corpus.images import Images
from corpus.shards import link, rows_per_shard, shard_path, shard_ranges, write_shard
from settings.errors import BadArtifact
from settings.places import require_space
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARDS = 16  # at least so many where there are slices for them: ranks share shards out, whatever their number
MAPS, LOGITS = "maps", "logits"  # prefixes of shards


class Labeller(nn.Module):
    """A whole CNN, frozen as `FeatureCnn`: N×3×S×S → its map at `stage` and its logits, in one pass."""

    def __init__(self, model: nn.Module, stage: str) -> None:
        super().__init__()
        self.model = model
        self.map: Tensor | None = None
        model.get_submodule(stage).register_forward_hook(self._keep)
        self.requires_grad_(False)
        self.eval()

    def _keep(self, module: nn.Module, given: Any, found: Tensor) -> None:
        self.map = found.clone()  # an activation behind it may work in place

    def train(self, mode: bool = True) -> "Labeller":
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = self.model(x)
        found, self.map = self.map, None
        assert found is not None, "the hook of a module that the pass went through"
        return found, logits


@dataclass(frozen=True)
class Frozen:
    """A CNN to be frozen. `labels`: what its logits stand for; empty where it saw no CT labels."""

    name: str
    model: nn.Module
    architecture: str
    outputs: int
    batchnorm_eps: float
    stage: str
    labels: tuple[str, ...] = ()
    tuned: Path | None = None  # its artifact, where it was fitted on CT


def freeze(model: nn.Module, stage: str, labels: bool) -> nn.Module:
    """The network that `look` runs: up to `stage`, or with `labels` to its end."""
    return Labeller(model, stage) if labels else FeatureCnn(model, stage)


def load_frozen(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The frozen CNN of a features artifact, from that alone, and its card."""
    model, card = load_cnn(folder, "features")
    return freeze(model, card["stage"], bool(card["labels"])), card


def look(cnn: nn.Module, x: Tensor, decisions: Decisions) -> tuple[Tensor, Tensor | None]:
    """A frozen CNN's maps of images as it takes them (fp16, N×C×h×w), and its logits (float32, N×6) if it has any."""
    with torch.no_grad(), decisions.autocast():
        found = cnn(x.contiguous(memory_format=decisions.memory_format))
    maps, logits = found if isinstance(found, tuple) else (found, None)
    return maps.half().contiguous(), None if logits is None else logits.float()


def extract(
    frozen: Frozen,
    images: Images,
    batch: int,
    cache: bool,
    work: Path,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> tuple[int, int, int]:
    """Write the CNN and, with `cache`, its maps and logits of all slices; returns the maps' shape (C, h, w).

    Every rank takes every ranks-th shard. Shards are written to `work`, where a killed run left those that are whole,
    and linked into `out`. BadArtifact where a value is beyond fp16.
    """
    trunk = FeatureCnn(frozen.model, frozen.stage)
    shape = trunk.shape(images.side)
    content = cost(trunk, torch.zeros(1, 3, images.side, images.side, device="meta"))
    cnn = freeze(frozen.model, frozen.stage, bool(frozen.labels)).to(
        accelerator.device, memory_format=decisions.memory_format
    )  # type: ignore[call-overload]
    row_bytes = 2 * int(np.prod(shape))
    ranges = shard_ranges(len(images), rows_per_shard(row_bytes, len(images), SHARDS)) if cache else []
    if accelerator.is_main_process and cache:
        require_space(work, len(images) * row_bytes)
    for number, (start, stop) in enumerate(ranges):
        mine = number % accelerator.num_processes == accelerator.process_index
        if mine and not shard_path(work, number, MAPS).exists():
            _write(cnn, images, np.arange(start, stop), batch, work, number, decisions)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for number in range(len(ranges)):
            for prefix in (MAPS, LOGITS) if frozen.labels else (MAPS,):
                link(shard_path(work, number, prefix), shard_path(out, number, prefix))
        pq.write_table(images.index.select(["id", "series", "position"]), out / "index.parquet")
        save_weights(frozen.model, out)
        if frozen.tuned:
            carry_fitted(frozen.tuned, out)
        write_card(
            out,
            "features",
            cnn=frozen.name,
            weights=weights_digest(out),
            cached=cache,
            architecture=frozen.architecture,
            outputs=frozen.outputs,
            batchnorm_eps=frozen.batchnorm_eps,
            **scale_of(frozen.model),
            stage=frozen.stage,
            labels=list(frozen.labels),
            side=images.side,
            windows=images.card["windows"],
            channels=shape[0],
            grid=list(shape[1:]),
            count=len(images),
            **content,
        )
    accelerator.wait_for_everyone()
    return shape


def _write(
    cnn: nn.Module, images: Images, rows: Any, batch: int, work: Path, number: int, decisions: Decisions
) -> None:
    """One shard of maps, and of logits."""
    device = next(cnn.parameters()).device
    maps, logits = [], []
    for start in range(0, len(rows), batch):
        pixels = torch.from_numpy(images.read_windows(rows[start : start + batch])).to(device)
        found, answers = look(cnn, to_input(pixels, images.side), decisions)
        if not bool(torch.isfinite(found).all()):
            raise BadArtifact(
                "feature maps: a value is not finite in fp16; the CNN's weights are broken: train it again"
            )
        maps.append(found.cpu().numpy())
        logits += [] if answers is None else [answers.cpu().numpy()]
    if logits:  # before the maps: where these are whole, so are those
        write_shard(work, number, np.concatenate(logits), LOGITS)
    write_shard(work, number, np.concatenate(maps), MAPS)
