"""Training of a head on frozen maps (or of a pure ViT on images): the head half fits, val chooses."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backbones.augment import random_views
from backbones.classifier import bleed_loss
from backbones.feature_cnn import save_weights
from backbones.fitting import Fitting, weighted_bce
from corpus.card import write_card
from evaluation.labelled import Labelled
from settings.errors import BadArtifact
from training.loop import Curves, Run, train
from training.precision import Decisions
from vit.head import Head, build_head, predict_logits
from vit.inputs import Inputs
from vit.parameters import Variant, Vit, VitTrain

if TYPE_CHECKING:
    from accelerate import Accelerator

Floats = npt.NDArray[np.float32]
Part = tuple[npt.NDArray[np.int64], Floats]  # rows of the inputs, labels (n×6, 0 or 1)


class HeadTraining(Fitting):
    """The competition's loss on the fit part; judged by it on val."""

    def __init__(
        self,
        head: Head,
        inputs: Inputs,
        fit: Part,
        val: Part,
        parameters: VitTrain,
        run: Run,
        accelerator: "Accelerator",
        decisions: Decisions,
    ) -> None:
        head = head.to(accelerator.device)
        super().__init__(head, len(fit[0]), parameters, run, accelerator, decisions, head.undecayed)
        self.inputs, self.fit, self.val, self.parameters = inputs, fit, val, parameters

    def read(self, images_seen: int) -> tuple[list[Tensor], Tensor]:
        """Maps or images as they lie on disk, and labels."""
        chosen = self.sampler.rows(images_seen)
        return self.inputs.read(self.fit[0][chosen]), torch.from_numpy(self.fit[1][chosen])

    def loss(self, batch: tuple[list[Tensor], Tensor]) -> Tensor:
        """Images are seen in random views, maps as they are."""
        parts, labels = batch
        device, p = self.accelerator.device, self.parameters
        if self.inputs.images:
            pixels = parts[0].to(device, non_blocking=True)
            x = [random_views(pixels, self.inputs.images.side, rotate=p.rotate, shift=p.shift, flip=p.flip)]
        else:
            x = self.inputs.on_device(parts, device)
        with self.decisions.autocast():
            logits = self.prepared(*x).float()
        return weighted_bce(logits, labels.to(device, non_blocking=True))

    def judge(self) -> dict[str, float]:
        """Weighted log loss on val."""
        rows, labels = self.val
        logits = predict_logits(
            self.average.module, self.inputs, rows, self.run.batch, self.accelerator, self.decisions
        )
        return {"loss": bleed_loss(logits, labels)}


def train_head(
    name: str,
    variant: Variant,
    vit: Vit,
    sources: Sequence[Path],
    train_part: Labelled,
    val_part: Labelled,
    labels: Sequence[str],
    parameters: VitTrain,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> Curves:
    """Train, write the artifact. Of `train_part` the half "head" alone is read: no CNN was fitted on it."""
    inputs = Inputs(sources)
    fit, val = _half(inputs, train_part, "head"), _half(inputs, val_part, "")
    torch.manual_seed(run.seed)
    head = build_head(inputs.sources, variant.patch, variant.projection, vit, len(labels))
    task = HeadTraining(head, inputs, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    if accelerator.is_main_process:
        task.take_best()
        save_weights(head, out)
        curves.write(out)
        write_card(
            out,
            "head",
            variant=name,
            encoder=variant.encoder,
            vit=vit.model_dump(),
            patch=variant.patch,
            projection=variant.projection,
            inputs=inputs.sources,
            grid=inputs.sources[0]["grid"],
            channels=head.channels,
            labels=list(labels),
            parameters=sum(p.numel() for p in head.parameters()),
            train_slices=len(fit[0]),
            val_slices=len(val[0]),
            images=int(curves.training[-1]["images"]),
            best_at=task.best["images"],
            val_weighted_log_loss=round(task.best["loss"], 6),
        )
    accelerator.wait_for_everyone()
    return curves


def _half(inputs: Inputs, labelled: Labelled, name: str) -> Part:
    chosen = np.flatnonzero(np.array(labelled.halves) == name)
    if not len(chosen):
        raise BadArtifact(f"split: no labelled slice for '{name or 'val'}'; check split_ct's shares and rerun split-ct")
    return inputs.rows_of([labelled.ids[i] for i in chosen]), labelled.truth[chosen].astype(np.float32)
