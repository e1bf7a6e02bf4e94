"""Fine-tuning on CT: the weights of a CNN, on the CNN half of the train patients' slices, chosen by val."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbones.classifier import Classifier, Examples
from backbones.feature_cnn import check_stage, save_weights
from backbones.fitted import write_fitted
from backbones.freeze import freeze
from backbones.parameters import Cnn, CnnFinetune
from backbones.scaling import scale_of
from backbones.start import Start, start_cnn
from corpus.card import write_card
from corpus.images import Images
from corpus.shards import evenly
from evaluation.labelled import Labelled, fraction_of
from evaluation.metrics import sigmoid
from training.loop import Curves, Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

GAP_SLICES = 20_000  # train slices that the train loss is measured on at most


def finetune(
    name: str,
    images: Images,
    train_part: Labelled,
    val_part: Labelled,
    labels: Sequence[str],
    cnn: Cnn,
    start: Start,
    parameters: CnnFinetune,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> Curves:
    """Train `cnns.<name>`, write the artifact. Of `train_part` the slices of the half "cnn" alone are read.

    The card has the loss on train and on val: the gap that a head trained on the same slices would be misled by;
    fitted.parquet names the slices, so that a head can refuse them.
    """
    check_stage(cnn.architecture, cnn.stage, cnn.side)
    fit = half(images, train_part, "cnn", cnn.fraction, f"cnns.{name}.fraction")
    val = half(images, val_part, "")
    model, eps = start_cnn(cnn.architecture, len(labels), start, run.seed, keep_classifier=False)
    frozen = freeze(model, cnn.frozen) if cnn.frozen else []
    task = Classifier(model, cnn.side, fit, val, parameters, run, accelerator, decisions, frozen)
    curves = train(task, run, accelerator, decisions)
    task.take_best()
    some = evenly(len(fit.rows), GAP_SLICES)
    on_train = task.figures(Examples(images, fit.rows[some], fit.targets[some]))["loss"]
    on_val = sigmoid(task.logits(val))
    if accelerator.is_main_process:
        from backbones.pictures import scores

        save_weights(task.model, out)
        curves.write(out)
        write_fitted(out, images.index.column("id").take(fit.rows))
        scores(out / "scores.png", val.targets, on_val, labels)
        write_card(
            out,
            "cnn",
            architecture=cnn.architecture,
            outputs=len(labels),
            side=cnn.side,
            **scale_of(task.model),
            batchnorm_eps=eps,
            classes=list(labels),
            train_patients=len(set(np.array(images.column("patient"))[fit.rows])),
            train_slices=len(fit.rows),
            val_slices=len(val.rows),
            images=int(curves.validation[-1]["images"]),
            best_at=task.best["images"],
            train_weighted_log_loss=round(on_train, 6),
            val_weighted_log_loss=round(task.best["loss"], 6),
        )
    accelerator.wait_for_everyone()
    return curves


def half(images: Images, labelled: Labelled, name: str, fraction: float = 1, where: str = "fraction") -> Examples:
    """The slices of one half ("cnn", "head"; "" outside train), or of a share of its patients, with their labels."""
    chosen = fraction_of(labelled, name, fraction, where)
    return Examples(images, images.rows_of(chosen.ids), chosen.truth.astype(np.float32))
