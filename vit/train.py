"""Training of a head on the head half of the train patients; val chooses the weights."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from backbones.classifier import parameter_groups, save_classifier, weighted_bce
from backbones.finetune import labelled_rows
from corpus.card import write_card
from ct.labels import LABELS
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from training.batches import IndexSampler
from training.loop import Run, train
from training.precision import Decisions
from training.schedule import warmup_cosine
from vit.head import Head, Sources, logits_of
from vit.parameters import Variant, Vit, VitTrain

if TYPE_CHECKING:
    from accelerate import Accelerator

Labelled = tuple[Any, Any]  # rows (n, int64) and labels (n×6, float32)


class HeadTraining:
    """The training of a head, as `training.loop` wants it. Keeps the weights that validated best."""

    def __init__(
        self,
        head: Head,
        sources: Sources,
        fit: Labelled,
        val: Labelled,
        parameters: VitTrain,
        run: Run,
        accelerator: "Accelerator",
        decisions: Decisions,
    ) -> None:
        self.head = head.to(accelerator.device)
        self.prepared = accelerator.prepare(self.head)
        groups = parameter_groups(self.head, parameters.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=parameters.learning_rate, fused=True)
        self.sources, self.fit, self.val = sources, fit, val
        self.parameters, self.run, self.accelerator, self.decisions = parameters, run, accelerator, decisions
        ranks = accelerator.num_processes
        self.sampler = IndexSampler(len(fit[0]), run.batch, run.seed, accelerator.process_index, ranks)
        self.best: dict[str, Any] = {"loss": float("inf"), "weights": {}, "images": 0}

    def read(self, images_seen: int) -> tuple[list[Tensor], Tensor]:
        """The sources' rows and the labels, from disk."""
        chosen = self.sampler.rows(images_seen)
        return self.sources.read(self.fit[0][chosen]), torch.from_numpy(self.fit[1][chosen])

    def step(self, batch: tuple[list[Tensor], Tensor], images_seen: int) -> dict[str, Tensor]:
        """One AdamW step with gradients clipped at norm 1 (Dosovitskiy et al., appendix B.1)."""
        p = self.parameters
        for group in self.optimiser.param_groups:
            group["lr"] = p.learning_rate * warmup_cosine(images_seen, self.run.total, int(p.warmup_share * self.run.total))
        x = self.sources.to_input(batch[0], self.accelerator.device)
        labels = batch[1].to(self.accelerator.device, non_blocking=True)
        self.prepared.train()
        with self.decisions.autocast():
            logits = self.prepared(x)
        loss = weighted_bce(logits.float(), labels)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimiser.step()
        return {"loss": loss.detach()}

    def evaluate(self, images_seen: int) -> dict[str, float]:
        """Weighted log loss on val; the weights are kept if it is the lowest so far."""
        logits = logits_of(self.head, self.sources, self.val[0], self.accelerator, self.decisions)
        loss = weighted_log_loss(self.val[1], sigmoid(logits), label_weights(LABELS))
        if loss < self.best["loss"]:
            weights = {name: value.detach().cpu().clone() for name, value in self.head.state_dict().items()}
            self.best = {"loss": loss, "weights": weights, "images": images_seen}
        return {"val_loss": loss}

    def modules(self) -> list[nn.Module]:
        return [self.head]

    def state(self) -> dict[str, Any]:
        return {"head": self.head.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best}

    def own_state(self) -> dict[str, Any]:
        return {}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.head.load_state_dict(shared["head"])
        self.optimiser.load_state_dict(copy.deepcopy(shared["optimiser"]))
        self.best = shared["best"]


def train_head(
    name: str,
    variant: Variant,
    folders: Sequence[Path],
    labels: tuple[Path, Path],
    parts: Path,
    vit: Vit,
    parameters: VitTrain,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> dict[str, Any]:
    """Fit a head on the head half of train, judge on val, write the artifact; returns what was best.

    `folders`: artifacts/features/<cnn> of each CNN, or the slices. `labels`: those of train and of val.
    """
    sources = Sources(folders)
    fit = labelled_rows(folders[0], labels[0], parts, "train", "head")
    val = labelled_rows(folders[0], labels[1], parts, "val")
    torch.manual_seed(run.seed)
    head = Head(sources.shapes, variant.patch, variant.projection, vit)
    task = HeadTraining(head, sources, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    if accelerator.is_main_process:
        head.load_state_dict(task.best["weights"])
        save_classifier(head, out)
        curves.write(out)
        first = sources.shapes[0]
        write_card(
            out,
            "head",
            variant=name,
            vit=vit.model_dump(),
            patch=variant.patch,
            projection=variant.projection,
            cnns=list(variant.cnns),
            shapes=[list(shape) for shape in sources.shapes],
            grid=[first.height, first.width],
            channels=sum(variant.projection or shape.channels for shape in sources.shapes),
            parameters=sum(p.numel() for p in head.parameters()),
            labels=list(LABELS),
            slices=len(fit[0]),
            images=int(curves.training[-1]["images"]),
            best_at=int(task.best["images"]),
            val_weighted_log_loss=round(task.best["loss"], 6),
        )
    accelerator.wait_for_everyone()
    return task.best
