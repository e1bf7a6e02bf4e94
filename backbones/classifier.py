"""A CNN trained to classify: photos by their class (one of many), or CT slices by their bleeds (any of six)."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from backbones.augment import random_views, to_input
from backbones.feature_cnn import load_cnn
from backbones.parameters import CnnFinetune, CorpusPretrain
from corpus.images import Images
from ct.labels import LABELS
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from training.batches import IndexSampler
from training.loop import Run
from training.precision import Decisions
from training.ranks import gather_rows, my_rows
from training.schedule import warmup_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Examples:
    """Rows of an image corpus with their targets: class numbers (n, int64) or labels (n×6, float32, 0 or 1)."""

    images: Images
    rows: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]


def weighted_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """The competition's loss as a function of logits (n×6, `any` last): `any` counts twice, divided by the weights' sum."""
    weights = logits.new_ones(logits.shape[1])
    weights[-1] = 2
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * weights).sum(1).mean() / weights.sum()


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for AdamW: kernels and matrices with weight decay; biases, norms and ViT's embeddings without."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    free = {name for name, p in named if p.ndim <= 1 or name.endswith(("position", "token"))}
    return [
        {"params": [p for name, p in named if name not in free], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name in free], "weight_decay": 0.0},
    ]


class Classifier:
    """The training of a CNN, as `training.loop` wants it. Keeps the weights that validated best.

    Many classes: cross-entropy with label smoothing, judged by it on the validation part. Bleeds: the competition's
    loss, judged by it.
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
    ) -> None:
        self.model = model.to(accelerator.device, memory_format=decisions.memory_format)  # type: ignore[call-overload]
        self.prepared = accelerator.prepare(self.model)
        groups = parameter_groups(self.model, parameters.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=parameters.learning_rate, fused=True)
        self.side, self.fit, self.val = side, fit, val
        self.parameters, self.run, self.accelerator, self.decisions = parameters, run, accelerator, decisions
        ranks = accelerator.num_processes
        self.sampler = IndexSampler(len(fit.rows), run.batch, run.seed, accelerator.process_index, ranks)
        self.best: dict[str, Any] = {"loss": float("inf"), "weights": {}, "images": 0}

    def read(self, images_seen: int) -> tuple[Tensor, Tensor]:
        """uint8 n×H×W×3 and targets, from disk."""
        chosen = self.sampler.rows(images_seen)
        images = self.fit.images.read_windows(self.fit.rows[chosen])
        return torch.from_numpy(images), torch.from_numpy(self.fit.targets[chosen])

    def step(self, batch: tuple[Tensor, Tensor], images_seen: int) -> dict[str, Tensor]:
        """One AdamW step."""
        p = self.parameters
        factor = warmup_cosine(images_seen, self.run.total, int(p.warmup_share * self.run.total))
        for group in self.optimiser.param_groups:
            group["lr"] = p.learning_rate * factor
        images, targets = (part.to(self.accelerator.device, non_blocking=True) for part in batch)
        if isinstance(p, CorpusPretrain):
            x = random_views(images, self.side, area=p.crop)
        else:
            x = random_views(images, self.side, rotate=p.rotate, shift=p.shift)
        self.prepared.train()
        with self.decisions.autocast():
            logits = self.prepared(x.contiguous(memory_format=self.decisions.memory_format))
        loss = self._loss(logits.float(), targets)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.optimiser.step()
        return {"loss": loss.detach()}

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        if isinstance(self.parameters, CorpusPretrain):
            return functional.cross_entropy(logits, targets, label_smoothing=self.parameters.label_smoothing)
        return weighted_bce(logits, targets)

    def evaluate(self, images_seen: int) -> dict[str, float]:
        """Validation figures; the weights are kept if the loss is the lowest so far."""
        figures = self.judge(self.val)
        if figures["loss"] < self.best["loss"]:
            weights = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
            self.best = {"loss": figures["loss"], "weights": weights, "images": images_seen}
        return {f"val_{name}": value for name, value in figures.items()}

    def judge(self, examples: Examples) -> dict[str, float]:
        """Loss and accuracy of the present weights on examples, the same on every rank."""
        logits = predict(
            self.model, examples.images, examples.rows, self.side, self.run.batch, self.accelerator, self.decisions
        )
        if isinstance(self.parameters, CorpusPretrain):
            loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(examples.targets))
            return {"loss": float(loss), "accuracy": float((logits.argmax(1) == examples.targets).mean())}
        return {"loss": weighted_log_loss(examples.targets, sigmoid(logits), label_weights(LABELS))}

    def take_best(self) -> None:
        """Set the network to the weights that validated best."""
        self.model.load_state_dict(self.best["weights"])

    def modules(self) -> list[nn.Module]:
        return [self.model]

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best}

    def own_state(self) -> dict[str, Any]:
        return {}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.model.load_state_dict(shared["model"])
        self.optimiser.load_state_dict(copy.deepcopy(shared["optimiser"]))
        self.best = shared["best"]


def predict(
    model: nn.Module,
    images: Images,
    rows: npt.NDArray[np.int64],
    side: int,
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Logits (n×outputs, float32) of the given rows of a corpus, in evaluation mode; every rank gets them all."""
    model.eval()
    mine, parts = rows[my_rows(len(rows), accelerator)], []
    with torch.inference_mode(), decisions.autocast():
        for start in range(0, len(mine), batch):
            pixels = torch.from_numpy(images.read_windows(mine[start : start + batch])).to(accelerator.device)
            x = to_input(pixels, side).contiguous(memory_format=decisions.memory_format)
            parts.append(model(x).float())
    return gather_rows(torch.cat(parts), len(rows), accelerator)


def save_classifier(model: nn.Module, folder: Path) -> None:
    """`model.safetensors`: every tensor of the network, on the CPU."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


class Scaled(nn.Module):
    """A CNN with its input's scaling: uint8 n×H×W×3 → logits at its own side."""

    def __init__(self, model: nn.Module, side: int) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, images: Tensor) -> Tensor:
        return self.model(to_input(images, self.side))


def load_classifier(folder: Path) -> tuple[Scaled, dict[str, Any]]:
    """An artifact "classifier" as a module from uint8 images (n×H×W×3) to logits, and its card."""
    model, card = load_cnn(folder, "classifier")
    return Scaled(model, card["side"]).eval(), card
