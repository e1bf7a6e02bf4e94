"""Fine-tuning of a CNN on labelled CT slices of the CNN half of the train patients."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from backbones.classifier import Classifier, Examples, save_classifier
from backbones.feature_cnn import build, load_start
from backbones.parameters import Cnn, CnnFinetune
from backbones.starts import DEFAULT_EPS, Start
from corpus.card import write_card
from corpus.images import Images
from ct.labels import LABELS
from evaluation.labelled import read_labelled
from settings.errors import BadArtifact
from training.loop import Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator


def labelled_rows(
    corpus: Path, labels: Path, parts: Path, part: str, half: str = ""
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Rows of a corpus' labelled slices of a part (and half: "cnn" or "head"), and their labels (n×6, 0 or 1).

    `corpus`: any folder whose `index.parquet` has `id`. BadArtifact for a slice that the corpus has not.
    """
    found = read_labelled(labels, parts, part, LABELS)
    chosen = [i for i, h in enumerate(found.halves) if not half or h == half]
    place = {id_: row for row, id_ in enumerate(pq.read_table(corpus / "index.parquet", columns=["id"])["id"].to_pylist())}
    missing = [found.ids[i] for i in chosen if found.ids[i] not in place]
    if missing:
        raise BadArtifact(f"{corpus}: has no slice {missing[0]}; it and the split are of different data: run `dvc repro`")
    rows = np.array([place[found.ids[i]] for i in chosen], dtype=np.int64)
    return rows, found.truth[chosen].astype(np.float32)


def finetune(
    ct: Path,
    labels: tuple[Path, Path],
    parts: Path,
    start: Start,
    cnn: Cnn,
    parameters: CnnFinetune,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> dict[str, float]:
    """Fit on the CNN half of train, judge on val, write the artifact.

    `labels`: those of train and of val. Returns the weighted log loss on both, the gap that shows over-fitting.
    """
    images = Images(ct, "windows")
    fit = Examples(images, *labelled_rows(ct, labels[0], parts, "train", "cnn"))
    val = Examples(images, *labelled_rows(ct, labels[1], parts, "val"))
    eps = start[1] if start else DEFAULT_EPS
    torch.manual_seed(run.seed)  # of the weights that no file gives
    model = build(cnn.architecture, len(LABELS), eps)
    if start:
        load_start(model, start[0])
    task = Classifier(model, cnn.side, fit, val, parameters, run, accelerator, decisions)
    curves = train(task, run, accelerator, decisions)
    task.take_best()
    gap = {"train_weighted_log_loss": task.judge(fit)["loss"], "val_weighted_log_loss": task.judge(val)["loss"]}
    if accelerator.is_main_process:
        save_classifier(task.model, out)
        curves.write(out)
        write_card(
            out,
            "cnn",
            architecture=cnn.architecture,
            outputs=len(LABELS),
            batchnorm_eps=eps,
            side=cnn.side,
            labels=list(LABELS),
            slices=len(fit.rows),
            images=int(curves.training[-1]["images"]),
            best_at=int(task.best["images"]),
            **{name: round(value, 6) for name, value in gap.items()},
        )
    accelerator.wait_for_everyone()
    return gap
