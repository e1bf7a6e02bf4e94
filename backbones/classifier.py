"""A CNN trained to classify: images by their class (one of many), or CT slices by their bleeds (any of six)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.augment import random_views, to_input
from backbones.feature_cnn import load_cnn
from backbones.fitting import Fitting, weighted_bce
from backbones.parameters import CnnFinetune, CorpusPretrain
from corpus.images import Images
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from settings.errors import BadParameter
from training.batches import BalancedSampler
from training.loop import Run
from training.precision import Decisions
from training.ranks import gather_rows, my_rows

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Examples:
    """Rows of an image corpus with their targets: class numbers (n, int64) or labels (n×6, float32, 0 or 1)."""

    images: Images
    rows: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]


class Classifier(Fitting):
    """The training of a CNN. The type of its parameters tells the objective.

    CorpusPretrain: cross-entropy over classes with label smoothing; judged by cross-entropy, top-1 accuracy beside it.
    CnnFinetune: the competition's loss over bleeds; judged by it.
    """

    def __init__(
        self,
        model: nn.Module,
        side: int,
        fit: Examples,
        val: Examples,
        parameters: CorpusPretrain | CnnFinetune,
        run: Run,
        accelerator: "Accelerator",
        decisions: Decisions,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        model = model.to(accelerator.device, memory_format=decisions.memory_format)  # type: ignore[call-overload]
        super().__init__(
            model, len(fit.rows), parameters, run, accelerator, decisions, optimise=parameters.optimise, frozen=frozen
        )
        rank, ranks = accelerator.process_index, accelerator.num_processes
        if run.batch // ranks % parameters.optimise.accumulate:
            raise BadParameter(
                f"accumulate: does not divide the {run.batch // ranks} images of a rank; choose a divisor"
            )
        if isinstance(parameters, CnnFinetune) and parameters.positive_share:
            marked = fit.targets[:, -1] > 0  # `any`
            self.sampler = BalancedSampler(marked, parameters.positive_share, run.batch, run.seed, rank, ranks)
        self.side, self.fit, self.val, self.parameters = side, fit, val, parameters

    def read(self, images_seen: int) -> tuple[Tensor, Tensor]:
        """uint8 n×H×W×3 and targets, from disk."""
        chosen = self.sampler.rows(images_seen)
        images = self.fit.images.read_windows(self.fit.rows[chosen])
        return torch.from_numpy(images), torch.from_numpy(self.fit.targets[chosen])

    def pieces(self, batch: tuple[Tensor, Tensor]) -> list[tuple[Tensor, ...]]:
        return list(zip(*(part.chunk(self.optimise.accumulate) for part in batch), strict=True))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Of random views of the images, drawn on the device."""
        p = self.parameters
        images, targets = (part.to(self.accelerator.device, non_blocking=True) for part in batch)
        if isinstance(p, CorpusPretrain):
            x = random_views(images, self.side, area=p.crop_scale, flip=p.flip)
        else:
            x = random_views(images, self.side, rotate=p.rotate, shift=p.shift, flip=p.flip)
        with self.decisions.autocast():
            logits = self.prepared(x.contiguous(memory_format=self.decisions.memory_format)).float()
        if isinstance(p, CorpusPretrain):
            return functional.cross_entropy(logits, targets, label_smoothing=p.label_smoothing)
        return weighted_bce(logits, targets)

    def judge(self) -> dict[str, float]:
        """Figures on the validation examples."""
        return self.figures(self.val)

    def figures(self, examples: Examples) -> dict[str, float]:
        """Loss (and accuracy over classes) of the averaged weights, without random views."""
        logits = self.logits(examples)
        if isinstance(self.parameters, CorpusPretrain):
            loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(examples.targets))
            return {"loss": float(loss), "accuracy": float((logits.argmax(1) == examples.targets).mean())}
        return {"loss": bleed_loss(logits, examples.targets)}

    def logits(self, examples: Examples) -> npt.NDArray[np.float32]:
        """Of the averaged weights (n×outputs), without random views; all on every rank."""
        run, network = self.run, self.average.module
        return predict(network, examples.images, examples.rows, self.side, run.batch, self.accelerator, self.decisions)


def bleed_loss(logits: npt.NDArray[np.float32], labels: npt.NDArray[Any]) -> float:
    """The competition's score of logits (n×6, `any` last), as `evaluate` computes it."""
    names = [""] * (logits.shape[1] - 1) + ["any"]
    return weighted_log_loss(labels, sigmoid(logits), label_weights(names))


def predict(
    model: nn.Module,
    images: Images,
    rows: npt.NDArray[np.int64],
    side: int,
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Logits (n×outputs) of rows of a corpus, in evaluation mode, `batch` at once over all ranks; all on every rank."""
    model.eval()
    mine, parts = rows[my_rows(len(rows), accelerator)], []
    each = max(1, batch // accelerator.num_processes)
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), each):
            pixels = torch.from_numpy(images.read_windows(mine[start : start + each])).to(accelerator.device)
            x = to_input(pixels, side).contiguous(memory_format=decisions.memory_format)
            parts.append(model(x).float())
    return gather_rows(torch.cat(parts), len(rows), accelerator)


class Scaled(nn.Module):
    """A CNN with its input's scaling: uint8 n×H×W×3 of any size → logits."""

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, images: Tensor) -> Tensor:
        return self.model(to_input(images, self.side))


def load_classifier(folder: Path) -> tuple[Scaled, dict[str, Any]]:
    """A CNN's artifact as a module from uint8 images (n×H×W×3) to logits, in evaluation mode, and its card."""
    model, card = load_cnn(folder)
    return Scaled(model, card["side"]).eval(), card
