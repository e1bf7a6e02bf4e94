"""cnn-finetune@<cnn>: a CNN learns the six labels on the CNN half of the train patients; val chooses its weights.

The head half is left alone: a head that trains on slices its CNN was fitted on learns to trust that CNN.
"""

from backbones.finetune import finetune
from backbones.parameters import Cnn, CnnFinetune, Weights
from backbones.start import find_start
from corpus.images import Images
from ct.labels import LABELS
from evaluation.labelled import read_labelled
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(CnnFinetune, "cnn_finetune")
    cnn = job.section(Cnn, f"cnns.{job.key}")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    seed = read_value(int, job.parameters["seed"], "seed") + cnn.seed
    start = find_start(cnn.start, imagenet, job.weights, job.input)
    parts = job.input("artifacts/split/parts.parquet")
    train, val = (
        read_labelled(job.input(f"artifacts/split/labels-{part}.parquet"), parts, part, LABELS)
        for part in ("train", "val")
    )
    accelerator, decisions = accelerate(job)
    curves = finetune(
        job.key,
        Images(job.input(f"artifacts/ct/images-{cnn.side}"), "windows"),
        train,
        val,
        LABELS,
        cnn,
        start,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every, parameters.patience),
        job.out(f"artifacts/cnns/{job.key}"),
        accelerator,
        decisions,
    )
    best = min(row["val_loss"] for row in curves.validation)
    accelerator.print(f"{job.name}: best weighted log loss on val {best:.4f}")
