"""A frozen CNN as a feature extractor: what distances between sets of images, probes and consistency are taken in."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backbones.augment import resize
from backbones.feature_cnn import WEIGHTS, build
from backbones.scaling import Scale, scale_on
from backbones.start import Start, load_start
from corpus.card import read_card
from settings.errors import BadParameter
from training.precision import Decisions
from training.ranks import gather_rows, my_rows

if TYPE_CHECKING:
    from accelerate import Accelerator


class Extractor(nn.Module):
    """Images → the CNN's pooled features (n×d), resized on their device to the side that the CNN reads.

    Frozen: evaluation mode always, no gradient to its own weights; gradients reach float images. `network` gives n×d
    from images in -1…1 (see `backbones.scaling`). `name` says which CNN it is, for cards and tables.
    """

    def __init__(self, network: nn.Module, name: str, side: int) -> None:
        super().__init__()
        self.network, self.name, self.side = network, name, side
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Extractor":
        """Stays in evaluation mode: the BatchNorm statistics of a frozen CNN never move."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Float n×3×H×W in -1…1 → n×d; differentiable."""
        features: Tensor = self.network(resize(images, self.side))
        return features

    def of_pixels(self, images: Tensor) -> Tensor:
        """uint8 n×H×W×3 → n×d."""
        return self(images.permute(0, 3, 1, 2).float().div(127.5).sub(1))


def load_extractor(start: Start, architecture: str = "", side: int = 0) -> Extractor:
    """An extractor from a weights file of `architecture` (a timm name) at `side` pixels, or from a CNN's artifact.

    An artifact's card says its architecture and side; `side` other than 0 overrides it. Raises BadParameter for random
    weights and unknown names, BadInput for a file that is not of the architecture.
    """
    if start.path is None:
        raise BadParameter("extractor: features of random weights tell nothing; name a weights file or a trained CNN")
    if start.path.is_dir():
        card = read_card(start.path, "classifier", "cnn")
        architecture, side = card["architecture"], side or card["side"]
        network = _network(architecture, start.path / WEIGHTS, card["batchnorm_eps"], scale_on(card))
        return Extractor(network, f"{architecture} of {start.path.parent.name}/{start.path.name} at {side} px", side)
    network = _network(architecture, start.path, start.batchnorm_eps, None)
    return Extractor(network, f"{architecture}, {start.path.name}, at {side} px", side)


def _network(architecture: str, file: Path, batchnorm_eps: float, scale: Scale | None) -> nn.Module:
    """n×3×H×W → n×d pooled features; torch's global generator, which draws the first weights, is left as it was."""
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, 0, batchnorm_eps, scale)
    load_start(network, file, keep_classifier=False)
    return network


def extract(
    extractor: Extractor,
    images: npt.NDArray[np.uint8],
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Features (n×d) of images (n×H×W×3 uint8), `batch` at once on each rank. Every rank gets all rows."""
    mine, parts = my_rows(len(images), accelerator), []
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), batch):
            chosen = torch.from_numpy(images[mine[start : start + batch]]).to(accelerator.device)
            parts.append(extractor.of_pixels(chosen).float())
    return gather_rows(torch.cat(parts), len(images), accelerator)
