"""Where a CNN of the table starts: a weights file, an artifact, or random weights."""

from collections.abc import Callable
from pathlib import Path

from backbones.parameters import Cnn, Weights
from corpus.card import read_card

DEFAULT_EPS = 1e-5  # of BatchNorm: torch's and timm's
Start = tuple[Path, float] | None  # a safetensors file and the BatchNorm eps it was trained with; None: random weights


def start_from(
    start: str | Weights, imagenet: Weights | None, weights: Callable[[Weights], Path], artifact: Callable[[str], Path]
) -> Start:
    """Resolve `cnns.<cnn>.start`.

    "imagenet" is the file that `imagenet` names or, without one, what training on the photos gave; `weights` finds and
    checks a file, `artifact` a declared input.
    """
    if isinstance(start, Weights):
        return weights(start), start.batchnorm_eps
    if start == "random":
        return None
    if start == "imagenet" and imagenet is not None:
        return weights(imagenet), imagenet.batchnorm_eps
    folder = artifact(f"artifacts/pretrained/{'photos' if start == 'imagenet' else 'translated'}")
    return folder / "model.safetensors", float(read_card(folder, "classifier")["batchnorm_eps"])
