"""gan-train: photos ↔ CT slices, unpaired; the averaged photo → CT generator is what gan-generate uses.

Reads train photos and train patients' slices, and no label of a slice. With `consistency`, a linear probe on the frozen
CNN that `imagenet` names is fitted on the same photos first, and the translations are held to what it sees in them.
"""

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from backbones.parameters import Weights
from gan.parameters import GanTrain
from gan.train import Sources, open_sources, train_translator
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

    from backbones.probe import Probe


def run(job: Job) -> None:
    parameters = job.section(GanTrain, "gan_train")
    train_ids = pq.read_table(job.input("artifacts/split/train-ids.parquet"), columns=["id"]).column("id").to_pylist()
    sources = open_sources(
        job.input("artifacts/photos"),
        job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"),
        train_ids,
        parameters,
    )
    accelerator, decisions = accelerate(job, compile_for=parameters.images)
    seed = read_value(int, job.parameters["seed"], "seed")
    curves = train_translator(
        sources,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out("artifacts/gan"),
        accelerator,
        decisions,
        _probe(job, sources, parameters, accelerator, decisions) if parameters.consistency else None,
    )
    last = curves.validation[-1]
    accelerator.print(
        f"{job.name}: {len(sources.photo_rows):,} photos, {len(sources.ct_rows):,} slices; "
        f"cycle error {last['cycle']:.3f}, diversity {last['diversity']:.2f} of CT's, {last['saturated']:.1%} saturated"
    )


def _probe(
    job: Job, sources: Sources, parameters: GanTrain, accelerator: "Accelerator", decisions: Decisions
) -> "Probe":
    """For `consistency`: a linear probe on the frozen ImageNet CNN, which reads images of the translator's side."""
    from backbones.extractor import load_extractor
    from backbones.probe import fit_probe
    from backbones.start import Start

    file = read_value(Weights, job.parameters["imagenet"], "imagenet")
    architecture = read_value(str, job.parameters["corpus_pretrain"]["architecture"], "corpus_pretrain.architecture")
    extractor = load_extractor(Start(job.weights(file), file.batchnorm_eps), architecture, parameters.side)
    return fit_probe(extractor, sources.photos, sources.photo_rows, accelerator, decisions)
