"""A timm CNN: built, started from weights, and cut at a named module to give frozen feature maps."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from corpus.card import read_card
from settings.errors import BadArtifact, BadInput, BadParameter


def build(architecture: str, outputs: int, batchnorm_eps: float) -> nn.Module:
    """A timm CNN with random weights and a linear classifier of `outputs` logits behind its global pooling.

    `batchnorm_eps`: timm's default is 1e-5; weights made by Keras need 1e-3. BadParameter for a name timm has not.
    """
    if not timm.is_model(architecture):
        raise BadParameter(f"architecture: timm has no '{architecture}'; see timm.list_models()")
    model: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=outputs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = batchnorm_eps
    return model


def load_start(model: nn.Module, file: Path) -> None:
    """Load a safetensors file into a CNN; its classifier is taken if it fits and left as it is otherwise.

    float16 tensors are widened. Every other key must fit: BadInput names the first that does not.
    """
    try:
        stored = load_file(file)
    except (SafetensorError, FileNotFoundError) as error:
        raise BadInput(f"weights file {file.name}: is no safetensors file ({error}); convert it or name another") from None
    own = model.state_dict()
    head = _classifier(model)
    fitting = {
        name: value.to(own[name].dtype) for name, value in stored.items() if name in own and own[name].shape == value.shape
    }
    free = {name for name in own if name.startswith(head) or name.endswith("num_batches_tracked")}
    wrong = [name for name in stored if name not in fitting and not name.startswith(head)]
    wrong += [name for name in own if name not in fitting and name not in free]
    if wrong:
        raise BadInput(f"weights file {file.name}: does not fit the architecture ({wrong[0]}); name a file of its own kind")
    model.load_state_dict(fitting, strict=False)


def load_cnn(folder: Path, *kinds: str) -> tuple[nn.Module, dict[str, Any]]:
    """A CNN rebuilt from its artifact alone ("classifier" or "cnn"), in evaluation mode, and its card."""
    card = read_card(folder, *(kinds or ("classifier", "cnn")))
    model = build(card["architecture"], card["outputs"], card["batchnorm_eps"])
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (SafetensorError, RuntimeError, FileNotFoundError) as error:
        raise BadArtifact(f"{folder}: weights and card do not fit ({str(error).splitlines()[0]}); rerun its stage") from None
    return model.eval(), card


class FeatureCnn(nn.Module):
    """A CNN from its input to the output of its module `stage`; frozen: evaluation mode and no gradient, always.

    For `legacy_xception` cut at `block12`, its last residual add (Barhoumi & Rasool 2021, section 2), N×3×224×224 in
    -1…1 becomes N×1024×7×7. Raises BadParameter when the CNN has no such module.
    """

    def __init__(self, model: nn.Module, stage: str) -> None:
        super().__init__()
        if stage not in dict(model.named_modules()):
            named = ", ".join(name for name, _ in model.named_children())
            raise BadParameter(f"stage: the CNN has no module '{stage}'; it has {named}")
        self.model, self.stage = model, stage
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FeatureCnn":
        """Stays in evaluation mode: the BatchNorm statistics of a frozen CNN never move."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (N×C×H×W) of images (N×3×S×S); what lies behind the cut is not computed."""
        found: list[torch.Tensor] = []

        def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            found.append(output)
            raise _CutReached

        hook = self.model.get_submodule(self.stage).register_forward_hook(keep)
        try:
            self.model(x)
        except _CutReached:
            pass
        finally:
            hook.remove()
        return found[0]


class _CutReached(Exception):
    pass


def _classifier(model: nn.Module) -> str:
    name = model.pretrained_cfg["classifier"]  # type: ignore[index]
    return str(name if isinstance(name, str) else name[0]) + "."
