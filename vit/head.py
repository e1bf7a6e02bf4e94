"""The head: maps of frozen CNNs side by side (or an image), cut into tokens, encoded, classified.

Barhoumi & Rasool, "Scopeformer" (arXiv 2107.04575), figure 1: n maps of 7×7×1024 → 7×7×(n·1024) → ViT → MLP head.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backbones.feature_cnn import load_weights
from corpus.card import read_card
from settings.errors import BadArtifact, BadParameter
from training.precision import Decisions
from training.ranks import gather_rows, my_rows
from vit.encoder import Encoder
from vit.inputs import Inputs
from vit.parameters import Vit

if TYPE_CHECKING:
    from accelerate import Accelerator


class Head(nn.Module):
    """Maps (each N×C_i×h×w float, one grid) → logits (N×outputs).

    `channels`: C_i of each. `projection`: width of a 1×1 convolution on each map before they are concatenated (the
    paper's small model: 128), or None. `patch`: positions along each axis that make one token; BadParameter unless it
    divides the grid.
    """

    def __init__(
        self,
        channels: Sequence[int],
        grid: tuple[int, int],
        patch: int,
        projection: int | None,
        vit: Vit,
        outputs: int,
    ) -> None:
        super().__init__()
        if grid[0] % patch or grid[1] % patch:
            raise BadParameter(f"patch: {patch} does not divide the grid {grid[0]}×{grid[1]}; choose one that does")
        self.projections = nn.ModuleList(nn.Conv2d(c, projection, 1) for c in channels) if projection else None
        self.channels = projection * len(channels) if projection else sum(channels)
        self.embed = nn.Conv2d(self.channels, vit.dim, patch, stride=patch)
        self.encoder = Encoder(grid[0] // patch * (grid[1] // patch), vit)
        self.classify = nn.Sequential(
            nn.Linear(vit.dim, vit.dim), nn.GELU(), nn.Dropout(vit.dropout), nn.Linear(vit.dim, outputs)
        )

    @property
    def undecayed(self) -> tuple[str, ...]:
        """Names of the parameters without weight decay although they have more than one axis."""
        return tuple(f"encoder.{name}" for name in self.encoder.undecayed)

    def forward(self, *maps: Tensor) -> Tensor:
        parts = (
            [project(part) for project, part in zip(self.projections, maps, strict=True)] if self.projections else maps
        )
        tokens = self.embed(torch.cat(tuple(parts), dim=1)).flatten(2).transpose(1, 2)
        return self.classify(self.encoder(tokens))


def build_head(sources: Sequence[dict[str, Any]], patch: int, projection: int | None, vit: Vit, outputs: int) -> Head:
    """A head for inputs as `Inputs.sources` and the card describe them."""
    height, width = sources[0]["grid"]
    return Head([source["channels"] for source in sources], (height, width), patch, projection, vit, outputs)


def load_head(folder: Path) -> tuple[Head, dict[str, Any]]:
    """A head rebuilt from its artifact alone, in evaluation mode, and its card."""
    card = read_card(folder, "head")
    head = build_head(card["inputs"], card["patch"], card["projection"], Vit(**card["vit"]), len(card["labels"]))
    load_weights(head, folder)
    return head.eval(), card


def predict_logits(
    head: nn.Module,
    inputs: Inputs,
    rows: npt.NDArray[np.int64],
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Logits (n×outputs) of rows, in evaluation mode, `batch` at once over all ranks; every rank gets them all."""
    head.eval()
    mine, parts = rows[my_rows(len(rows), accelerator)], []
    each = max(1, batch // accelerator.num_processes)
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), each):
            read = inputs.read(mine[start : start + each])
            parts.append(head(*inputs.on_device(read, accelerator.device)).float())
    return gather_rows(torch.cat(parts), len(rows), accelerator)


def predict(
    folder: Path,
    sources: Sequence[Path],
    rows: npt.NDArray[np.int64],
    accelerator: "Accelerator",
    decisions: Decisions,
    batch: int,
) -> npt.NDArray[np.float32]:
    """Logits (n×6, LABELS) of the head in `folder` for rows of its sources: maps in the order of its CNNs, or images.

    Raises BadArtifact when the sources are not those that the head was trained on.
    """
    head, card = load_head(folder)
    inputs = Inputs(sources)
    if inputs.sources != card["inputs"]:
        raise BadArtifact(f"{folder}: was trained on {card['inputs']}, got {inputs.sources}; rerun vit-train")
    return predict_logits(head.to(accelerator.device), inputs, rows, batch, accelerator, decisions)
