"""Training of a head on frozen maps (or of a pure ViT on images): the head half fits, val chooses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backbones.classifier import bleed_loss
from backbones.feature_cnn import save_weights
from backbones.fitted import check_fitted
from backbones.fitting import Fitting, weighted_bce
from corpus.card import read_card, write_card
from evaluation.labelled import Labelled, fraction_of
from settings.errors import BadParameter
from training.batches import IndexSampler
from training.loop import Run, train
from training.precision import Decisions
from vit.encoder import AnyHead
from vit.head import build_head, head_cost, predict_logits
from vit.inputs import Inputs
from vit.parameters import Variant, Vit, VitTrain
from vit.sequence import arrange, cut, series_rows

if TYPE_CHECKING:
    from accelerate import Accelerator

Floats = npt.NDArray[np.float32]
Part = tuple[npt.NDArray[np.int64], Floats]  # rows of the inputs, labels (n×6, 0 or 1)


class HeadTraining(Fitting):
    """The competition's loss on the fit part; judged by it on val."""

    def __init__(
        self,
        head: AnyHead,
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

    def read(self, images_seen: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Maps or images as they lie on disk, nothing more, and labels."""
        chosen = self.sampler.rows(images_seen)
        return self.inputs.read(self.fit[0][chosen]), [], torch.from_numpy(self.fit[1][chosen])

    def loss(self, batch: tuple[list[Tensor], list[Tensor], Tensor]) -> Tensor:
        """Images are seen in random views, cached maps as they are; slices without labels count as context alone."""
        device = self.accelerator.device
        series = batch[1][0] // batch[1][2].shape[1] if batch[1] else None  # neighbours are not mirrored each alone
        x = self.inputs.on_device(batch[0], device, self.decisions, self.parameters, series)
        slots, labels = [part.to(device, non_blocking=True) for part in batch[1]], batch[2]
        with self.decisions.autocast():
            logits = self.prepared(*x, *slots).float()
        known = torch.nonzero(~labels[:, 0].isnan())[:, 0]
        return weighted_bce(logits[known.to(device)], labels[known].to(device, non_blocking=True))

    def judge(self) -> dict[str, float]:
        """Weighted log loss on val."""
        rows, labels = self.val
        logits = predict_logits(
            self.average.module, self.inputs, rows, self.run.batch, self.accelerator, self.decisions
        )
        return {"loss": bleed_loss(logits, labels)}


class SeriesTraining(HeadTraining):
    """The same with whole series: a step sees as many as fit into the batch, at `length` places each.

    Padded places count as images. BadParameter where not one series fits on each rank.
    """

    def __init__(self, length: int, *given: Any) -> None:
        super().__init__(*given)
        series, self.position = self.inputs.places()
        self.labels = np.full((len(series), self.fit[1].shape[1]), np.nan, np.float32)
        self.labels[self.fit[0]] = self.fit[1]
        parts = cut(series_rows(series, self.position), length)
        self.series = [rows for rows in parts if not np.isnan(self.labels[rows]).all()]
        ranks, self.each = self.accelerator.num_processes, self.run.batch // length
        if self.each < ranks or self.each % ranks:
            raise BadParameter(
                f"context.length: {self.each} series of {length} slices fit into a batch of {self.run.batch}, "
                f"for {ranks} ranks; make vit_train.batch a multiple of {length * ranks}"
            )
        self.sampler = IndexSampler(len(self.series), self.each, self.run.seed, self.accelerator.process_index, ranks)

    def read(self, images_seen: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Maps or images of all slices of some series, where these lie in them, and labels (NaN: none)."""
        chosen = self.sampler.rows(images_seen // self.run.batch * self.each)
        rows, slots = arrange([self.series[number] for number in chosen], self.position)
        return self.inputs.read(rows), list(slots), torch.from_numpy(self.labels[rows])


def train_head(
    name: str,
    variant: Variant,
    vit: Vit,
    sources: Sequence[Path],
    images: Callable[[int], Path],
    parts: Path,
    train_part: Labelled,
    val_part: Labelled,
    labels: Sequence[str],
    parameters: VitTrain,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> float:
    """Train, write the artifact; returns the weighted log loss on val.

    Of `train_part` the half "head" alone is read, and a CNN that was fitted on any slice outside of the half "cnn" is
    refused (`parts`: parts.parquet). `images`: as `Inputs` takes it. A mean of logits is written as it is.
    """
    shape = variant.shape
    inputs = Inputs(sources, shape.encoder == "mean-logits", images)
    for folder in sources:
        if read_card(folder).get("labels"):
            check_fitted(folder, parts)
    fit = _half(inputs, train_part, "head", variant.fraction, f"variants.{name}.fraction")
    val = _half(inputs, val_part, "")
    torch.manual_seed(run.seed)
    head = build_head(inputs.sources, shape, vit, len(labels))
    given = (head, inputs, fit, val, parameters, run, accelerator, decisions)
    trained: dict[str, Any] = {"images": 0, "best_at": 0}
    curves = None
    if shape.encoder == "mean-logits":
        logits = predict_logits(head, inputs, val[0], run.batch, accelerator, decisions)
        loss = bleed_loss(logits, val[1])
    else:
        task = SeriesTraining(shape.context.length, *given) if shape.context else HeadTraining(*given)
        curves = train(task, run, accelerator, decisions)
        task.take_best()
        loss = task.best["loss"]
        trained = {"images": int(curves.training[-1]["images"]), "best_at": task.best["images"]}
    if accelerator.is_main_process:
        save_weights(head, out)
        if curves:
            curves.write(out)
        write_card(
            out,
            "head",
            variant=name,
            encoder=shape.encoder,
            vit=vit.model_dump(),
            shape=shape.model_dump(),
            inputs=inputs.sources,
            windows=inputs.windows,
            grid=list(head.grid),
            channels=head.channels,
            labels=list(labels),
            **head_cost(head, inputs.sources, shape),
            **_cnn_cost(sources),
            train_slices=len(fit[0]) if curves else 0,
            val_slices=len(val[0]),
            **trained,
            val_weighted_log_loss=round(loss, 6),
        )
    accelerator.wait_for_everyone()
    return float(loss)


def _cnn_cost(sources: Sequence[Path]) -> dict[str, int]:
    """Parameters and flops (for one slice) of the distinct CNNs in front of a head, up to their maps."""
    cards = [card for folder in dict.fromkeys(sources) if (card := read_card(folder))["kind"] == "features"]
    return {f"cnn_{name}": sum(card[name] for card in cards) for name in ("parameters", "flops")}


def _half(inputs: Inputs, labelled: Labelled, name: str, fraction: float = 1, where: str = "fraction") -> Part:
    chosen = fraction_of(labelled, name, fraction, where)
    return inputs.rows_of(chosen.ids), chosen.truth.astype(np.float32)
