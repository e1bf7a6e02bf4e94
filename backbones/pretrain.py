"""Pretraining on a corpus of labelled images: the photos, a control, or the translated photos. One code, one budget."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backbones.classifier import Classifier, Examples, save_classifier
from backbones.feature_cnn import build, load_start
from backbones.parameters import CorpusPretrain
from backbones.starts import DEFAULT_EPS, Start
from corpus.card import write_card
from corpus.images import Images
from training.loop import Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

def pretrain(
    corpus: Path, start: Start, parameters: CorpusPretrain, run: Run, out: Path, accelerator: "Accelerator", decisions: Decisions
) -> dict[str, float]:
    """Train on the corpus' train part, judge on its val part, write the artifact; returns the best validation row."""
    images = Images(corpus, "photos", "hu")
    classes = images.card["classes"]
    labels = np.array(images.column("label"), dtype=np.int64)
    parts = np.array(images.column("part"))
    fit, val = (Examples(images, rows, labels[rows]) for rows in (np.flatnonzero(parts == p) for p in ("train", "val")))
    eps = start[1] if start else DEFAULT_EPS
    torch.manual_seed(run.seed)  # of the weights that no file gives
    model = build(parameters.architecture, len(classes), eps)
    if start:
        load_start(model, start[0])
    task = Classifier(model, parameters.side, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    best = next(row for row in curves.validation if row["images"] == task.best["images"])
    if accelerator.is_main_process:
        task.take_best()
        save_classifier(task.model, out)
        curves.write(out)
        write_card(
            out,
            "classifier",
            architecture=parameters.architecture,
            outputs=len(classes),
            batchnorm_eps=eps,
            side=parameters.side,
            classes=classes,
            images=int(curves.training[-1]["images"]),
            best_at=int(best["images"]),
            val_accuracy=round(best["val_accuracy"], 6),
            val_loss=round(best["val_loss"], 6),
        )
    accelerator.wait_for_everyone()
    return best
