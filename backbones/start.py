"""What a CNN starts from: a weights file, the CNN of another stage, timm's pretrained weights, or random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from backbones.feature_cnn import WEIGHTS, build
from backbones.parameters import Weights, pretrained
from backbones.scaling import SIGNED, scale_on, take_signed
from corpus.card import read_card
from settings.errors import BadInput, BadParameter, WrongEnvironment

RANDOM_EPS = 1e-5  # torch's and timm's


class Start(NamedTuple):
    """A safetensors file or an artifact's folder, or timm's weights; neither: random ones.

    `batchnorm_eps` holds for a file.
    """

    path: Path | None = None
    batchnorm_eps: float = RANDOM_EPS
    timm: bool = False


def find_start(
    start: str | Weights,
    imagenet: Weights | None,
    weights: Callable[[Weights], Path],
    artifact: Callable[[str], Path],
) -> Start:
    """The start that `cnns.*.start` names.

    "imagenet" is the file of the parameter `imagenet`; without one, the CNN trained on the photos stands for it. A
    corpus' name is the CNN trained further on that corpus. `weights` finds and verifies a file, `artifact` an input of
    the stage.
    """
    if start in ("random", "timm"):
        return Start(timm=start == "timm")
    if path := pretrained(start, imagenet is not None):
        return Start(artifact(path))
    file = start if isinstance(start, Weights) else imagenet
    return Start(weights(file), file.batchnorm_eps) if file else Start()


def start_cnn(
    architecture: str, outputs: int, start: Start, seed: int, keep_classifier: bool
) -> tuple[nn.Module, float]:
    """A CNN with its first weights, and its BatchNorm eps.

    What the start has not (without `keep_classifier`, or where its shape differs: the classifying layer) is drawn from
    `seed`. A file's and timm's weights are taken to want images as timm's entry for the architecture says, an
    artifact's as its card says (`backbones.scaling`). Raises BadParameter for an artifact of another architecture,
    BadInput for a file that does not fit, WrongEnvironment when timm's weights cannot be had.
    """
    eps, file = start.batchnorm_eps, start.path
    scale = None if file else SIGNED
    if start.path and start.path.is_dir():
        card = read_card(start.path, "classifier", "cnn")
        if card["architecture"] != architecture:
            raise BadParameter(
                f"architecture: {architecture} cannot start from {start.path.name}, which is {card['architecture']}; "
                "make corpus_pretrain.architecture and the CNN's the same"
            )
        eps, file, scale = card["batchnorm_eps"], start.path / WEIGHTS, scale_on(card)
    torch.manual_seed(seed)
    if start.timm:
        return _from_timm(architecture, outputs)
    model = build(architecture, outputs, eps, scale)
    if file:
        load_start(model, file, keep_classifier)
    return model, eps


def _from_timm(architecture: str, outputs: int) -> tuple[nn.Module, float]:
    """timm's own pretrained weights, from its cache or its hub; BatchNorm's eps is the architecture's."""
    if not timm.is_model(architecture) or not timm.models.is_model_pretrained(architecture):
        raise BadParameter(f"start: timm has no weights for '{architecture}'; see timm.list_pretrained()")
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=True, num_classes=outputs)
    except OSError as error:  # no network, no such host, offline mode, a full disk
        reason = " ".join(str(error).split())[:160]
        raise WrongEnvironment(
            f"start: timm's weights of {architecture} cannot be fetched from its hub ({reason}); fetch them on a "
            "machine with a network and name the file, with its SHA-256, as start"
        ) from None
    eps = [module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    return take_signed(model, None), eps[0] if eps else RANDOM_EPS


def load_start(model: nn.Module, file: Path, keep_classifier: bool) -> None:
    """Load a safetensors file into a CNN; float16 is widened.

    All but the classifying layer and BatchNorm's counters must be there and fit, and there may be nothing else:
    BadInput names the first tensor that breaks this.
    """
    try:
        stored = load_file(file)
    except (SafetensorError, FileNotFoundError) as error:
        raise BadInput(f"weights {file.name}: no safetensors file ({error}); convert it or name another") from None
    own = model.state_dict()
    classifier = _classifier(model)
    fitting = {
        name: value.to(own[name].dtype)
        for name, value in stored.items()
        if name in own and own[name].shape == value.shape and (keep_classifier or not name.startswith(classifier))
    }
    free = {name for name in {*own, *stored} if name.startswith(classifier) or name.endswith("num_batches_tracked")}
    if wrong := sorted(({*stored, *own} - fitting.keys()) - free):
        raise BadInput(
            f"weights {file.name}: not of this architecture ({len(wrong)} tensors, first {wrong[0]}); name another file"
        )
    model.load_state_dict(fitting, strict=False)


def _classifier(model: nn.Module) -> str:
    """Prefix of the classifying layer's tensors."""
    name = model.pretrained_cfg["classifier"]  # type: ignore[index]
    return f"{name if isinstance(name, str) else name[0]}."
