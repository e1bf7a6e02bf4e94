"""Fine-tuning on CT: all weights of a CNN, on the CNN half of the train patients' slices, chosen by val."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from backbones.classifier import Classifier, Examples, spread
from backbones.feature_cnn import save_weights
from backbones.fitted import write_fitted
from backbones.parameters import Cnn, CnnFinetune
from backbones.start import Start, start_cnn
from corpus.card import write_card
from corpus.images import Images
from evaluation.labelled import Labelled
from settings.errors import BadArtifact
from training.loop import Curves, Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

GAP_SLICES = 20_000  # train slices that the train loss is measured on at most


def finetune(
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
    """Train, write the artifact. Of `train_part` the slices of the half "cnn" alone are read.

    The card has the loss on train and on val: the gap that a head trained on the same slices would be misled by;
    fitted.parquet names the slices, so that a head can refuse them.
    """
    fit, val = half(images, train_part, "cnn"), half(images, val_part, "")
    model, eps = start_cnn(cnn.architecture, len(labels), start, run.seed, keep_classifier=False)
    task = Classifier(model, cnn.side, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    task.take_best()
    some = spread(fit.rows, GAP_SLICES)
    on_train = task.figures(Examples(images, fit.rows[some], fit.targets[some]))["loss"]
    on_val = task.best["loss"]
    if accelerator.is_main_process:
        save_weights(task.model, out)
        curves.write(out)
        write_fitted(out, images.index.column("id").take(pa.array(fit.rows)))
        write_card(
            out,
            "cnn",
            architecture=cnn.architecture,
            outputs=len(labels),
            side=cnn.side,
            mean=0.5,
            std=0.5,
            batchnorm_eps=eps,
            classes=list(labels),
            train_slices=len(fit.rows),
            val_slices=len(val.rows),
            images=int(curves.training[-1]["images"]),
            best_at=task.best["images"],
            train_weighted_log_loss=round(on_train, 6),
            val_weighted_log_loss=round(on_val, 6),
        )
    accelerator.wait_for_everyone()
    return curves


def half(images: Images, labelled: Labelled, name: str) -> Examples:
    """The slices of one half ("cnn", "head"; "" outside train) with their labels; BadArtifact when there is none."""
    chosen = np.flatnonzero(np.array(labelled.halves) == name)
    if not len(chosen):
        raise BadArtifact(f"split: no labelled slice for '{name or 'val'}'; check split_ct's shares and rerun split-ct")
    rows = images.rows_of([labelled.ids[i] for i in chosen])
    return Examples(images, rows, labelled.truth[chosen].astype(np.float32))
