"""The head: maps of one or more frozen CNNs, or the slice itself → six logits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from corpus.card import read_card
from corpus.images import Images
from corpus.shards import Shards
from ct.labels import LABELS
from settings.errors import BadArtifact, BadParameter
from training.precision import Decisions
from training.ranks import gather_rows, my_rows
from vit.encoder import Encoder
from vit.parameters import Vit

if TYPE_CHECKING:
    from accelerate import Accelerator


class Shape(NamedTuple):
    """What a source holds for one slice."""

    channels: int
    height: int
    width: int


class Head(nn.Module):
    """n sources (N×Cᵢ×H×W) → six logits (N×6), in the order of `ct.labels.LABELS`.

    Barhoumi & Rasool 2021, section 2: maps concatenated along channels, each before that through a 1×1 convolution to
    `projection` channels if given (1024 → 128 in the small version); a token per `patch`×`patch` positions; encoder;
    MLP head.
    """

    def __init__(self, shapes: Sequence[Shape], patch: int, projection: int | None, vit: Vit) -> None:
        super().__init__()
        grids = {(shape.height, shape.width) for shape in shapes}
        if len(grids) > 1:
            raise BadParameter(f"variant: maps of unlike grids {sorted(grids)} cannot be concatenated; take CNNs of one")
        (height, width) = grids.pop()
        if height % patch or width % patch:
            raise BadParameter(f"variant: patch {patch} does not divide the grid {height}×{width}")
        self.projections = nn.ModuleList(nn.Conv2d(s.channels, projection, 1) for s in shapes) if projection else None
        channels = sum(projection or shape.channels for shape in shapes)
        self.embed = nn.Conv2d(channels, vit.dim, patch, patch)
        self.encoder = Encoder((height // patch) * (width // patch), vit)
        self.classify = nn.Sequential(nn.Linear(vit.dim, vit.dim), nn.GELU(), nn.Linear(vit.dim, len(LABELS)))

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """One tensor N×Cᵢ×H×W per source → N×6."""
        if self.projections is not None:
            sources = [project(x) for project, x in zip(self.projections, sources, strict=True)]
        x = self.embed(torch.cat(list(sources), dim=1))
        return self.classify(self.encoder(x.flatten(2).transpose(1, 2)))


class Sources:
    """What a head reads, opened: feature folders (the same one may come twice), or one folder of slices."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        cards = [read_card(folder, "features", "windows") for folder in folders]
        self.slices = Images(folders[0], "windows") if cards[0]["kind"] == "windows" else None
        self.maps = [] if self.slices else [Shards(folder, "maps") for folder in folders]
        self.shapes = [Shape(*m.row_shape) for m in self.maps] or [Shape(3, cards[0]["side"], cards[0]["side"])]
        counts = {card["count"] for card in cards}
        if len(counts) > 1:
            raise BadArtifact(f"{folders[0].parent}: features of {sorted(counts)} slices; run `dvc repro extract-features`")

    def read(self, rows: npt.NDArray[np.int64]) -> list[Tensor]:
        """The rows of every source: float16 maps n×C×H×W, or uint8 slices n×H×W×3."""
        if self.slices:
            return [torch.from_numpy(self.slices.shards.read(rows))]
        return [torch.from_numpy(maps.read(rows)) for maps in self.maps]

    def to_input(self, raw: list[Tensor], device: torch.device) -> list[Tensor]:
        """What `read` gave, as float32 n×C×H×W on the device; slices in -1…1."""
        moved = [x.to(device, non_blocking=True) for x in raw]
        if self.slices:
            return [moved[0].permute(0, 3, 1, 2).float().div(127.5).sub(1)]
        return [x.float() for x in moved]


def load_head(folder: Path) -> tuple[Head, dict[str, Any]]:
    """A head rebuilt from its artifact alone, in evaluation mode, and its card."""
    card = read_card(folder, "head")
    shapes = [Shape(*shape) for shape in card["shapes"]]
    head = Head(shapes, card["patch"], card["projection"], Vit.model_validate(card["vit"]))
    try:
        head.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise BadArtifact(f"{folder}: weights and card do not fit ({str(error).splitlines()[0]}); rerun its stage") from None
    return head.eval(), card


def predict(
    folder: Path, sources: Sequence[Path], rows: npt.NDArray[np.int64], accelerator: "Accelerator", decisions: Decisions
) -> npt.NDArray[np.float32]:
    """Logits (n×6 float32) of a head artifact for rows of its sources; every rank gets them all."""
    head, card = load_head(folder)
    opened = Sources(sources)
    if [list(shape) for shape in opened.shapes] != card["shapes"]:
        raise BadArtifact(f"{folder}: was trained on maps of {card['shapes']}, these are {opened.shapes}; run `dvc repro`")
    return logits_of(head.to(accelerator.device), opened, rows, accelerator, decisions)


AT_ONCE = 64  # slices in a forward pass; changes no figure


def logits_of(
    head: nn.Module, sources: Sources, rows: npt.NDArray[np.int64], accelerator: "Accelerator", decisions: Decisions
) -> npt.NDArray[np.float32]:
    """Logits (n×6 float32) of a head in evaluation mode for rows of its sources."""
    head.eval()
    mine, parts = rows[my_rows(len(rows), accelerator)], []
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), AT_ONCE):
            x = sources.to_input(sources.read(mine[start : start + AT_ONCE]), accelerator.device)
            parts.append(head(x).float())
    return gather_rows(torch.cat(parts), len(rows), accelerator)
