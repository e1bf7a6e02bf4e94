"""Pretraining on a corpus of labelled images: the photos, or the translated photos. One code, one budget."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbones.classifier import Classifier, Examples
from backbones.feature_cnn import save_weights
from backbones.parameters import CorpusPretrain
from backbones.scaling import scale_of
from backbones.start import Start, start_cnn
from corpus.card import write_card
from corpus.images import Images
from settings.errors import BadArtifact
from training.loop import Curves, Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator


def pretrain(
    corpus: Path,
    start: Start,
    parameters: CorpusPretrain,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> Curves:
    """Train on the part "train" of a corpus of photos or translations, choose by its part "val", write the artifact."""
    images = Images(corpus, "photos", "hu", "windows")
    fit, val = (examples(images, part) for part in ("train", "val"))
    classes = images.card["classes"]
    model, eps = start_cnn(parameters.architecture, len(classes), start, run.seed, keep_classifier=True)
    task = Classifier(model, parameters.side, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    task.take_best()
    logits = task.logits(val)
    if accelerator.is_main_process:
        from backbones.pictures import confusion

        save_weights(task.model, out)
        curves.write(out)
        confusion(out / "confusion.png", val.targets, logits.argmax(1), images.card.get("class_names", classes))
        best = next(row for row in curves.validation if row["images"] == task.best["images"])
        write_card(
            out,
            "classifier",
            architecture=parameters.architecture,
            outputs=len(classes),
            side=parameters.side,
            **scale_of(task.model),
            batchnorm_eps=eps,
            classes=classes,
            images=int(curves.validation[-1]["images"]),
            best_at=int(best["images"]),
            val_loss=round(best["val_loss"], 6),
            val_accuracy=round(best["val_accuracy"], 6),
        )
    accelerator.wait_for_everyone()
    return curves


def examples(images: Images, part: str) -> Examples:
    """The images of one part with their class numbers; BadArtifact when there is none."""
    rows = np.flatnonzero(np.array(images.column("part")) == part)
    if not len(rows):
        raise BadArtifact(f"{images.folder}: has no image of the part '{part}'; check prepare_photos and rerun it")
    return Examples(images, rows, np.array(images.column("label"), dtype=np.int64)[rows])
