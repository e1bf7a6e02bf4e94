"""The audit's network: a classifier of photos, split into the extractor of its features and its last layer."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from backbones.extractor import Extractor
from backbones.feature_cnn import load_cnn
from backbones.scaling import take_signed
from settings.errors import BadArtifact, BadInput, BadParameter

NOT_STORED = ".num_batches_tracked"  # counters that older files lack and inference does not read


class Audited(NamedTuple):
    """A classifier in two parts: images → features (n×d) → logits."""

    extractor: Extractor
    last: nn.Module

    def logits(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (n×classes) of the extractor's features (n×d)."""
        with torch.inference_mode():
            return self.last(torch.from_numpy(features)).float().numpy()


def load_timm(architecture: str, file: Path, side: int) -> Audited:
    """A timm classifier with the weights of a safetensors file (fp16 is widened); it sees images as timm's entry says.

    Raises BadParameter for a name that timm has not, BadInput for weights of another network.
    """
    import timm
    from safetensors.torch import load_file

    if not timm.is_model(architecture):
        raise BadParameter(f"gan_audit.classifier.architecture: timm has no '{architecture}'")
    network = timm.create_model(architecture, pretrained=False)
    stored = {name: value.float() if value.is_floating_point() else value for name, value in load_file(file).items()}
    try:
        missing, unexpected = network.load_state_dict(stored, strict=False)
    except RuntimeError:  # what torch raises for a shape that differs
        missing, unexpected = ["shapes differ"], []
    wrong = [name for name in missing if not name.endswith(NOT_STORED)] + unexpected
    if wrong:
        raise BadInput(f"weights file {file.name} is not of {architecture} ({wrong[0]}); mend gan_audit.classifier")
    return _split(take_signed(network, None), f"{architecture}, {file.name}, at {side} px", side)


def load_trained(folder: Path) -> tuple[Audited, dict[str, Any]]:
    """The CNN of an artifact that a stage trained, and its card."""
    network, card = load_cnn(folder)
    name = f"{card['architecture']} of {folder.parent.name}/{folder.name} at {card['side']} px"
    return _split(network, name, card["side"]), card


def imagenet_columns(card: dict[str, Any]) -> npt.NDArray[np.int64]:
    """The columns of ImageNet's 1000 logits that are the classes of a photo corpus, in its order; from its card."""
    index = {wnid: place for place, wnid in enumerate(card.get("imagenet_index", []))}
    unknown = [wnid for wnid in card["classes"] if wnid not in index]
    if unknown:
        raise BadArtifact(
            f"artifacts/photos: {unknown[0]} has no ImageNet index, which gan_audit.classifier needs; put ImageNet's "
            "synset_words.txt at the raw root of the photos, or set gan_audit.classifier: null"
        )
    return np.array([index[wnid] for wnid in card["classes"]], dtype=np.int64)


def _split(network: Any, name: str, side: int) -> Audited:
    last = network.get_classifier()
    network.reset_classifier(0)
    return Audited(Extractor(network.eval(), name, side), last.eval().requires_grad_(False))
