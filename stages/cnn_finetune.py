"""cnn-finetune@<cnn>: a CNN of the table on labelled slices of the CNN half of the train patients; val chooses."""

from backbones.finetune import finetune
from backbones.parameters import Cnn, CnnFinetune, Weights
from backbones.starts import start_from
from settings.loader import read_value
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(CnnFinetune, "cnn_finetune")
    cnn = job.section(Cnn, f"cnns.{job.key}")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = start_from(cnn.start, imagenet, job.weights, job.input)
    accelerator, decisions = job.accelerate()
    seed = read_value(int, job.parameters["seed"], "seed") + cnn.seed
    gap = finetune(
        job.input(f"artifacts/ct/images-{cnn.side}"),
        (job.input("artifacts/split/labels-train.parquet"), job.input("artifacts/split/labels-val.parquet")),
        job.input("artifacts/split/parts.parquet"),
        start,
        cnn,
        parameters,
        job.train_run(parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out(f"artifacts/cnns/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(
        f"{job.name}: weighted log loss {gap['train_weighted_log_loss']:.4f} on the slices it was fitted on, "
        f"{gap['val_weighted_log_loss']:.4f} on val"
    )
