"""gan-train: photos ↔ CT slices, unpaired; the averaged photo → CT generator is what gan-generate uses.

Reads train photos and train patients' slices, and no label of a slice.
"""

import pyarrow.parquet as pq

from gan.parameters import GanTrain
from gan.train import open_sources, train_translator
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(GanTrain, "gan_train")
    train_ids = pq.read_table(job.input("artifacts/split/train-ids.parquet"), columns=["id"]).column("id").to_pylist()
    sources = open_sources(
        job.input("artifacts/photos"),
        job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"),
        train_ids,
        parameters,
    )
    accelerator, decisions = accelerate(job)
    seed = read_value(int, job.parameters["seed"], "seed")
    curves = train_translator(
        sources,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out("artifacts/gan"),
        accelerator,
        decisions,
    )
    last = curves.validation[-1]
    accelerator.print(
        f"{job.name}: {len(sources.photo_rows):,} photos, {len(sources.ct_rows):,} slices; "
        f"cycle error {last['cycle']:.3f}, diversity {last['diversity']:.2f} of CT's, {last['saturated']:.1%} saturated"
    )
