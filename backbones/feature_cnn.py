"""A timm CNN: built, rebuilt from its artifact, and cut at a named module to give frozen feature maps."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models.xception import Xception
from torch import nn
from torch.fx.proxy import TraceError
from torchvision.models.feature_extraction import create_feature_extractor

from backbones.scaling import SIGNED, Scale, scale_on, take_signed
from corpus.card import read_card
from settings.errors import BadArtifact, BadParameter

WEIGHTS = "model.safetensors"


def build(architecture: str, outputs: int, batchnorm_eps: float, scale: Scale | None = SIGNED) -> nn.Module:
    """A timm CNN with random weights and a linear layer of `outputs` logits behind its global pooling; no dropout.

    `batchnorm_eps`: timm's default is 1e-5; weights made by Keras need 1e-3. It takes images in -1…1; `scale`: what the
    weights that it is to have want (`take_signed`). BadParameter for a name timm has not.
    """
    if not timm.is_model(architecture):
        raise BadParameter(f"architecture: timm has no '{architecture}'; see timm.list_models()")
    model: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=outputs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = batchnorm_eps
    return take_signed(model, scale)


def save_weights(model: nn.Module, folder: Path) -> None:
    """`model.safetensors`: every tensor of a network."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)


def load_weights(model: nn.Module, folder: Path) -> None:
    """The inverse of `save_weights`; BadArtifact when the tensors are not those of the network."""
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())[:120]
        raise BadArtifact(f"{folder}: weights and card do not fit ({reason}); rerun its stage") from None


def weights_digest(folder: Path) -> str:
    """SHA-256 of `model.safetensors`, by which cards name the network that something was made with.

    BadArtifact where there is none.
    """
    try:
        with (folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BadArtifact(f"{folder}: no {WEIGHTS}; run `dvc repro`") from None


def load_cnn(folder: Path, *kinds: str) -> tuple[nn.Module, dict[str, Any]]:
    """A CNN rebuilt from its artifact alone ("classifier", "cnn"), in evaluation mode, and its card."""
    card = read_card(folder, *(kinds or ("classifier", "cnn")))
    model = build(card["architecture"], card["outputs"], card["batchnorm_eps"], scale_on(card))
    load_weights(model, folder)
    return model.eval(), card


class FeatureCnn(nn.Module):
    """A CNN from its input to the output of its module `stage`; frozen: evaluation mode and no gradient, always.

    N×3×S×S float in -1…1 → N×C×h×w. For `legacy_xception` cut at `block12`, its last residual add (the paper's map),
    S = 224 gives 1024×7×7. What lies behind the cut is dropped. Raises BadParameter for a module that is not there.
    """

    def __init__(self, model: nn.Module, stage: str) -> None:
        super().__init__()
        self.trunk = _cut(model.eval(), stage)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FeatureCnn":
        """Stays in evaluation mode: the BatchNorm statistics of a frozen CNN never move."""
        return super().train(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found = self.trunk(x)
        return found["map"] if isinstance(found, dict) else found

    def shape(self, side: int) -> tuple[int, int, int]:
        """(C, h, w) of a map at S = side; BadParameter when the module gives no map."""
        device = next(self.parameters()).device
        found = self(torch.zeros(1, 3, side, side, device=device))
        if not isinstance(found, torch.Tensor) or found.ndim != 4:
            raise BadParameter("stage: what the module gives is no map (N×C×h×w); name one before the pooling")
        return found.shape[1], found.shape[2], found.shape[3]


def check_stage(architecture: str, stage: str, side: int) -> tuple[int, int, int]:
    """(C, h, w) of the map of a CNN cut at `stage`, before anything is trained; BadParameter when there is none."""
    return FeatureCnn(build(architecture, 1, 1e-5), stage).shape(side)


def _cut(model: nn.Module, stage: str) -> nn.Module:
    children = dict(model.named_children())
    if stage not in dict(model.named_modules()):
        raise BadParameter(f"stage: the CNN has no module '{stage}'; it has {', '.join(children)}")
    if isinstance(model, Xception) and stage in children:  # its children are called one after the other, in order
        names = list(children)
        return nn.Sequential(OrderedDict((name, children[name]) for name in names[: names.index(stage) + 1]))
    try:
        cut: nn.Module = create_feature_extractor(model, {stage: "map"})
    except (TraceError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadParameter(f"stage: the CNN cannot be cut at '{stage}' ({reason}); choose another module") from None
    return cut
