"""vit-train@<variant>: a head on the maps of frozen CNNs (or a pure ViT on images), on the head half.

Reads no label of a slice that a CNN was fitted on, but for val's, and none of test.
"""

from ct.labels import LABELS
from evaluation.labelled import read_labelled
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job
from vit.parameters import Variant, Vit, VitTrain
from vit.train import train_head


def run(job: Job) -> None:
    parameters = job.section(VitTrain, "vit_train")
    variant = job.section(Variant, f"variants.{job.key}")
    vit = job.section(Vit, "vit")
    seed = read_value(int, job.parameters["seed"], "seed") + variant.seed
    sources = [job.input(f"artifacts/features/{cnn}") for cnn in variant.cnns]
    parts = job.input("artifacts/split/parts.parquet")
    train, val = (
        read_labelled(job.input(f"artifacts/split/labels-{part}.parquet"), parts, part, LABELS)
        for part in ("train", "val")
    )
    accelerator, decisions = accelerate(job)
    best = train_head(
        job.key,
        variant,
        vit,
        sources or [job.input(f"artifacts/ct/images-{variant.side}")],
        lambda side: job.input(f"artifacts/ct/images-{side}"),
        parts,
        train,
        val,
        LABELS,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out(f"artifacts/vit/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: weighted log loss on val {best:.4f}")
