"""vit-train@<variant>: a head on the frozen CNNs' maps (or on the slices), on the head half of the train patients."""

from settings.loader import read_value
from stages.run import Job
from vit.parameters import Variant, Vit, VitTrain
from vit.train import train_head


def run(job: Job) -> None:
    variant = job.section(Variant, f"variants.{job.key}")
    parameters = job.section(VitTrain, "vit_train")
    vit = job.section(Vit, "vit")
    folders = [job.input(f"artifacts/features/{cnn}") for cnn in variant.cnns]
    folders = folders or [job.input(f"artifacts/ct/images-{variant.side}")]
    accelerator, decisions = job.accelerate()
    seed = read_value(int, job.parameters["seed"], "seed") + variant.seed
    best = train_head(
        job.key,
        variant,
        folders,
        (job.input("artifacts/split/labels-train.parquet"), job.input("artifacts/split/labels-val.parquet")),
        job.input("artifacts/split/parts.parquet"),
        vit,
        parameters,
        job.train_run(parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out(f"artifacts/vit/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: weighted log loss {best['loss']:.4f} on val at {best['images']:,} images")
