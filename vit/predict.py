"""A trained variant rebuilt from its artifacts alone, and its answers for the slices of a series that is in no corpus.

The head is `artifacts/vit/<variant>`, the frozen CNNs in front of it are `artifacts/features/<cnn>`, of which cached
maps are not read. Slices go the way they went in `evaluate`: windows, sides and the rounding of maps to fp16.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backbones.augment import to_input
from backbones.feature_cnn import weights_digest
from backbones.features import load_frozen, look
from corpus.windows import Window, Windows
from ct.convert import resize, windowed
from ct.dicom import Slice
from settings.errors import BadArtifact
from training.precision import Decisions
from vit.encoder import AnyHead
from vit.head import load_head
from vit.sequence import SequenceHead, arrange

Pixels = npt.NDArray[np.uint8]
BATCH = 32  # slices at once on the device


class Model(NamedTuple):
    """A head and what is in front of it."""

    head: AnyHead
    cnns: dict[str, tuple[nn.Module, int]]  # by name: the frozen CNN, and the side of its slices; none: a pure ViT
    sources: list[dict[str, Any]]  # of the head's inputs, in order
    side: int  # of a pure ViT's images; 0 with CNNs
    logits: bool  # the head reads the CNNs' logits
    windows: Windows
    labels: list[str]
    device: torch.device
    decisions: Decisions
    digest: str  # SHA-256 of the head's weights

    @property
    def sides(self) -> set[int]:
        """Sides in pixels that slices are wanted at."""
        return {side for _, side in self.cnns.values()} or {self.side}


def load_model(artifacts: Path, variant: str, device: torch.device, decisions: Decisions) -> Model:
    """The model of a variant; BadArtifact where a part is missing or is not the one that the head was trained on."""
    folder = artifacts / "vit" / variant
    head, card = load_head(folder)
    logits = card["shape"]["encoder"] == "mean-logits"
    cnns: dict[str, tuple[nn.Module, int]] = {}
    for source in card["inputs"]:
        name = source["cnn"]
        if name and name not in cnns:
            cnn, its = load_frozen(artifacts / "features" / name)
            offered = {"channels": len(its["labels"]), "grid": [1, 1]} if logits else its
            offered = {**offered, "weights": weights_digest(artifacts / "features" / name)}
            if any(source.get(key) != offered[key] for key in ("weights", "channels", "grid")):
                raise BadArtifact(f"{folder}: was not trained on the CNN {name} that is here; run `dvc repro`")
            cnns[name] = cnn.to(device, memory_format=decisions.memory_format), its["side"]  # type: ignore[call-overload]
    if "windows" not in card:
        raise BadArtifact(f"{folder}: its card names no windows; rerun vit-train@{variant}")
    first, second, third = (Window(*pair) for pair in card["windows"])
    side = 0 if cnns else card["inputs"][0]["grid"][0]
    windows = (first, second, third)
    digest = weights_digest(folder)
    return Model(
        head.to(device), cnns, card["inputs"], side, logits, windows, card["labels"], device, decisions, digest
    )


def picture(slice_: Slice, model: Model) -> dict[int, Pixels]:
    """A slice in its three windows (side × side × 3) at each side that the model wants; Refused as `windowed` does."""
    whole = windowed(slice_, model.windows)
    return {side: resize(whole, side, side)[..., :3] for side in model.sides}


def series_logits(model: Model, pictures: Iterable[tuple[float, Mapping[int, Pixels]]]) -> npt.NDArray[np.float32]:
    """Logits (n×labels) of the slices of one series: position in mm along the normal, and `picture`, of each.

    Slices are taken BATCH at a time; a head with context sees all of them at once, at their positions.
    """
    positions: list[float] = []
    parts: list[list[Tensor]] = []
    coming = iter(pictures)
    while some := list(islice(coming, BATCH)):
        positions += [position for position, _ in some]
        parts.append(_look(model, [images for _, images in some]))
    if not parts:
        return np.empty((0, len(model.labels)), np.float32)
    mm = np.array(positions, np.float32)
    if isinstance(model.head, SequenceHead):
        order, slots = arrange([np.argsort(mm, kind="stable")], mm)
        rows = torch.from_numpy(order).to(model.device)
        whole = [torch.cat(column)[rows] for column in zip(*parts, strict=True)]
        found = torch.empty(len(mm), len(model.labels))
        found[order] = _answer(model, whole, slots.to(model.device))
        return found.numpy()
    return torch.cat([_answer(model, part) for part in parts]).numpy()


def _look(model: Model, images: list[Mapping[int, Pixels]]) -> list[Tensor]:
    """What each distinct source of the head gives for a batch."""
    inputs = {
        side: to_input(torch.from_numpy(np.stack([each[side] for each in images])).to(model.device), side)
        for side in model.sides
    }
    if not model.cnns:
        return list(inputs.values())
    found = []
    for cnn, side in model.cnns.values():
        maps, logits = look(cnn, inputs[side], model.decisions)
        found.append(logits[..., None, None] if model.logits and logits is not None else maps)
    return found


def _answer(model: Model, found: list[Tensor], slots: Iterable[Tensor] = ()) -> Tensor:
    names = list(model.cnns)
    inputs = [found[names.index(source["cnn"])] if names else found[0] for source in model.sources]
    with torch.inference_mode(), model.decisions.autocast():
        logits: Tensor = model.head(*(part.float() for part in inputs), *slots)
    return logits.float().cpu()
