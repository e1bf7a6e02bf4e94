"""gan-audit: photos beside their translations, the control corpora and val patients' slices → one page of figures.

Reads photos, slices of val patients alone, and a classifier: the one that gan_audit.classifier names, or, without one,
the CNN that corpus-pretrain@photos trained.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from audit.classifier import Audited, imagenet_columns, load_timm, load_trained
from audit.material import Material, gather
from audit.measure import measure
from audit.page import write_audit
from audit.parameters import GanAudit
from audit.rows import in_words, rows
from backbones.extractor import extract
from corpus.images import Images
from settings.errors import BadArtifact
from stages.compute import accelerate
from stages.run import Job

CONTROLS = "artifacts/controls/"


def run(job: Job) -> None:
    parameters = job.section(GanAudit, "gan_audit")
    seed = int(job.parameters["seed"])
    accelerator, decisions = accelerate(job)
    photos = Images(job.input("artifacts/photos"), "photos")
    material = _material(job, photos, parameters, seed)
    audited, columns, same_as_training = _network(job, parameters, photos.card)
    audited.extractor.to(accelerator.device).to(memory_format=decisions.memory_format)
    measured = measure(
        material,
        parameters,
        lambda images: extract(audited.extractor, images, parameters.batch, accelerator, decisions),
        lambda features: audited.logits(features)[:, columns],
        seed,
    )
    if accelerator.is_main_process:
        found = rows(measured, parameters.confidence)
        names = [str(name) for name in photos.card.get("class_names", photos.card["classes"])]
        write_audit(
            job.out("artifacts/audit"), found, measured.figures, material, parameters, names,
            audited.extractor.name, same_as_training, photos.card.get("source", ""),
        )  # fmt: skip
        for line in in_words(found):
            print(f"{job.name}: {line}")
    accelerator.wait_for_everyone()


def _material(job: Job, photos: Images, parameters: GanAudit, seed: int) -> Material:
    parts = pq.read_table(job.input("artifacts/split/parts.parquet")).to_pylist()
    val = [part["id"] for part in parts if part["part"] == "val"]
    if not val:
        raise BadArtifact("artifacts/split/parts.parquet: has no val patient; run `dvc repro split-ct`")
    controls = {
        path.removeprefix(CONTROLS): Images(job.input(path), "hu", "windows")
        for path in sorted(job.inputs)
        if path.startswith(CONTROLS)
    }
    translated = Images(job.input("artifacts/translated"), "hu", "windows")
    ct = Images(job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"), "hu")
    return gather(photos, translated, controls, ct, val, parameters, seed)


def _network(
    job: Job, parameters: GanAudit, card: dict[str, Any]
) -> tuple[Audited, npt.NDArray[np.int64] | slice, bool]:
    """The audit's network, the columns of its logits that are the corpus' classes, and whether training used it."""
    chosen = parameters.classifier
    if chosen is None:
        folder: Path = job.input("artifacts/pretrained/photos")
        audited, its_card = load_trained(folder)
        if its_card["classes"] != card["classes"]:
            raise BadArtifact(f"{folder}: knows other classes than artifacts/photos; run `dvc repro corpus-pretrain`")
        return audited, slice(None), True
    columns = imagenet_columns(card)
    return load_timm(chosen.architecture, job.weights(chosen), chosen.side), columns, False
