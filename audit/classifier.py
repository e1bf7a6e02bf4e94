"""The audit's classifier as a function of uint8 images: run in batches, each rank taking its share."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from settings.errors import BadInput, BadParameter
from training.precision import Decisions
from training.ranks import gather_rows, my_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

NOT_STORED = ".num_batches_tracked"  # counters that older files lack and inference does not read


class TimmClassifier(nn.Module):
    """A classifier with its input's scaling: uint8 n×H×W×3 → resized to `side`, (x/255 - mean) / std → logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-1] != self.side:
            x = functional.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        return self.network((x - self.mean) / self.std)


def load_timm(architecture: str, file: Path, side: int) -> TimmClassifier:
    """A timm classifier with the weights of a safetensors file (fp16 is widened), scaled as timm's entry for it says.

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
    scale: Any = network.pretrained_cfg
    return TimmClassifier(network.eval(), side, tuple(scale["mean"]), tuple(scale["std"]))


def classify(
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    columns: npt.NDArray[np.int64] | None,
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Logits (n×classes float32) of images (n×H×W×3 uint8); of `columns` alone where given: only they compete.

    `model` maps a uint8 batch on its device to logits. Every rank gets all rows.
    """
    mine = my_rows(len(images), accelerator)
    parts = []
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), batch):
            chosen = torch.from_numpy(images[mine[start : start + batch]]).to(accelerator.device)
            logits = model(chosen).float()
            parts.append(logits if columns is None else logits[:, columns])
    return gather_rows(torch.cat(parts), len(images), accelerator)
