"""What the trainings of CNNs and heads share: optimiser, warm-up and cosine, averaged weights, the best of them kept.

Of weights there are two: the best by validation loss are the artifact; the last are in the training state under
`work/`, from which a run goes on. Heads and features read the best alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional

from backbones.optimiser import make_optimiser, set_rate
from backbones.parameters import PLAIN, Optimise, Training
from training.batches import IndexSampler
from training.loop import Run
from training.precision import Decisions
from training.schedule import warmup_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


def weighted_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """The competition's loss of logits (n×6, `any` last): `any` counts twice; divided by the sum of the weights."""
    weights = logits.new_ones(logits.shape[1])
    weights[-1] = 2
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * weights).sum(1).mean() / weights.sum()


class Fitting(ABC):
    """A training as `training.loop` wants it; `read`, `loss` and `judge` are what differs.

    `model` is the bare network, `prepared` the one to call in a step (the same, or wrapped for several ranks),
    `average` the exponential moving average of its weights and buffers: what is judged and kept.
    `undecayed`: parameters of more than one axis that have no weight decay all the same. `frozen`: modules without
    gradients, which stay in evaluation mode.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: int,
        parameters: Training,
        run: Run,
        accelerator: "Accelerator",
        decisions: Decisions,
        undecayed: tuple[str, ...] = (),
        optimise: Optimise = PLAIN,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self.model, self.run, self.accelerator, self.decisions = model, run, accelerator, decisions
        self.prepared = accelerator.prepare(model)
        decay = 0.5 ** (parameters.batch / parameters.ema_half_life)
        self.average = ModelEmaV3(model, decay=decay, use_warmup=True)
        self.optimiser = make_optimiser(model, parameters, optimise, undecayed)
        self.optimise, self.frozen = optimise, frozen
        self.peak, self.warmup = parameters.learning_rate, int(parameters.warmup_share * run.total)
        self.sampler = IndexSampler(rows, run.batch, run.seed, accelerator.process_index, accelerator.num_processes)
        self.best: dict[str, Any] = {"loss": float("inf"), "weights": {}, "images": 0}

    @abstractmethod
    def read(self, images_seen: int) -> Any:
        """This rank's batch."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a batch, through `prepared`."""

    def pieces(self, batch: Any) -> list[Any]:
        """The batch in `optimise.accumulate` equal parts; a task with that option overrides this."""
        return [batch]

    @abstractmethod
    def judge(self) -> dict[str, float]:
        """Validation figures of the averaged weights, the same on every rank; "loss" decides."""

    def step(self, batch: Any, images_seen: int) -> dict[str, Tensor]:
        """One step of the optimiser."""
        set_rate(self.optimiser, self.peak * warmup_cosine(images_seen, self.run.total, self.warmup))
        self.prepared.train()
        for module in self.frozen:
            module.eval()
        self.optimiser.zero_grad(set_to_none=True)
        pieces, total = self.pieces(batch), torch.zeros((), device=self.accelerator.device)
        for number, piece in enumerate(pieces, start=1):
            # Ranks exchange gradients once, in the last backward pass.
            with nullcontext() if number == len(pieces) else self.accelerator.no_sync(self.prepared):
                loss = self.loss(piece) / len(pieces)
                self.accelerator.backward(loss)
            total += loss.detach()
        if self.optimise.clip_norm:
            self.accelerator.clip_grad_norm_(self.prepared.parameters(), self.optimise.clip_norm)
        self.optimiser.step()
        self.average.update(self.model, images_seen // self.run.batch)
        return {"loss": total}

    def evaluate(self, images_seen: int) -> dict[str, float]:
        """Validation figures of the averaged weights, which are kept if their loss is the lowest so far."""
        figures = self.judge()
        if figures["loss"] < self.best["loss"] or not self.best["weights"]:
            weights = {name: value.detach().cpu().clone() for name, value in self.average.module.state_dict().items()}
            self.best = {"loss": figures["loss"], "weights": weights, "images": images_seen}
        return {f"val_{name}": value for name, value in figures.items()}

    def take_best(self) -> None:
        """Set the network to the weights that validated best."""
        for network in self.modules():
            network.load_state_dict(self.best["weights"])

    def modules(self) -> list[nn.Module]:
        return [self.model, self.average.module]

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
        }

    def own_state(self) -> dict[str, Any]:
        return {}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.model.load_state_dict(shared["model"])
        self.average.module.load_state_dict(shared["average"])
        self.optimiser.load_state_dict(shared["optimiser"])
        self.best = shared["best"]
