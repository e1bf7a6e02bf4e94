"""gan-train: photos ↔ CT slices, unpaired; the averaged photo → CT generator is what gan-generate uses.

Trains on train photos and train patients' slices. KID while it trains sees held-out photos and val patients' slices,
in the features of the CNN that stands for ImageNet. Reads no label of a slice. With `consistency`, a linear probe on
the frozen CNN that `imagenet` names is fitted on the train photos first; translations are held to what it sees in them.
"""

from functools import partial

import pyarrow.parquet as pq

from backbones.extractor import extract, load_extractor
from backbones.parameters import Weights
from backbones.probe import fit_probe
from backbones.start import find_start
from evaluation.kid import FEW_PATIENTS
from gan.parameters import GanTrain
from gan.train import open_sources, spread, train_translator
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job
from training.loop import Row


def run(job: Job) -> None:
    parameters = job.section(GanTrain, "gan_train")
    sources = open_sources(
        job.input("artifacts/photos"),
        job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"),
        _ids(job, "train"),
        _ids(job, "val"),
        parameters,
    )
    accelerator, decisions = accelerate(job, compile_for=parameters.images)
    architecture, side = (job.parameters["corpus_pretrain"][name] for name in ("architecture", "side"))
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = find_start("imagenet", imagenet, job.weights, job.input)
    extractor = load_extractor(start, str(architecture), int(side)).to(accelerator.device)
    probe = None
    if parameters.consistency:
        own = load_extractor(start, str(architecture), parameters.side)
        probe = fit_probe(own, sources.photos, sources.photo_rows, accelerator, decisions)
    seed = read_value(int, job.parameters["seed"], "seed")
    curves = train_translator(
        sources,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out("artifacts/gan"),
        accelerator,
        decisions,
        partial(extract, extractor, batch=parameters.batch, accelerator=accelerator, decisions=decisions),
        probe,
    )
    last = curves.validation[-1]
    accelerator.print(
        f"{job.name}: {len(sources.photo_rows):,} photos, {len(sources.ct_rows):,} slices; "
        f"cycle error {last['cycle']:.3f}, diversity {last['diversity']:.2f} of CT's, {last['saturated']:.1%} saturated"
    )
    shown = spread(sources.val_rows, min(parameters.watch.kid, len(sources.val_rows)))
    accelerator.print(f"{job.name}: {_kid(last, extractor.name, len(set(sources.val_patients(shown))))}")
    accelerator.print(
        f"{job.name}: {last['warnings']:.0f} warnings at the last validation, "
        f"{sum(row['warnings'] for row in curves.validation):.0f} in all (artifacts/gan/warnings.csv)"
    )


def _ids(job: Job, part: str) -> list[str]:
    table = pq.read_table(job.input(f"artifacts/split/{part}-ids.parquet"), columns=["id"])
    return list(table.column("id").to_pylist())


def _kid(figures: Row, extractor: str, patients: int) -> str:
    """KID and its floor in words, and how far they may be believed."""
    if "kid" not in figures:
        return "no KID: fewer than two held-out photos or slices of val patients"
    if "kid_floor" not in figures:
        return f"KID {figures['kid']:.4f} ({extractor}); no floor: val has one patient"
    few = patients < FEW_PATIENTS
    belief = f"; below {FEW_PATIENTS} this describes them and tells nothing apart" if few else ""
    return (
        f"KID {figures['kid']:.4f} to {patients} val patients, {figures['kid_floor']:.4f} between their halves "
        f"({extractor}){belief}"
    )
