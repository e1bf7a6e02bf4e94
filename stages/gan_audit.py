"""gan-audit: held-out photos beside their translations and val patients' slices → figures, grids, a histogram.

Reads the photos' val part and slices of val patients alone, and a classifier: the one that gan_audit.classifier names,
or, without one, the CNN that corpus-pretrain@photos trained.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from torch import nn

from audit.classifier import classify, load_timm
from audit.histogram import plot
from audit.measure import headline, in_words, measure
from audit.parameters import GanAudit
from audit.samples import ct_views, spread_evenly, spread_over_classes, write_grid
from backbones.classifier import load_classifier
from corpus.card import write_card
from corpus.images import Images
from settings.errors import BadArtifact
from stages.compute import accelerate
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(GanAudit, "gan_audit")
    seed = int(job.parameters["seed"])
    accelerator, decisions = accelerate(job)
    photos = Images(job.input("artifacts/photos"), "photos")
    translated = Images(job.input("artifacts/translated"), "hu")
    if photos.column("id") != translated.column("id"):
        raise BadArtifact("artifacts/translated is of other photos than artifacts/photos; run `dvc repro gan-generate`")
    windows, hu_range = translated.windows(), (translated.card["hu_range"][0], translated.card["hu_range"][1])

    held_out = np.flatnonzero(np.array(photos.column("part")) == "val")
    rows = spread_over_classes(photos.column("label"), held_out, parameters.photos)
    labels = np.array(photos.column("label"))[rows]
    originals, outputs = photos.shards.read(rows), translated.shards.read(rows)
    slices, patients = _val_slices(job, hu_range, parameters.ct.count)
    ct = parameters.ct
    views, kept = ct_views(slices, ct.kind, ct.zoom, ct.tissue, translated.side, seed)
    patients = [patients[row] for row in kept]

    model, columns, origin = _classifier(job, parameters, photos.card)
    model.to(accelerator.device).to(memory_format=decisions.memory_format)
    figures = measure(
        originals, labels, outputs, views, patients, windows, hu_range, parameters,
        lambda images: classify(model, images, columns, parameters.batch, accelerator, decisions), seed,
    )  # fmt: skip

    if accelerator.is_main_process:
        out = job.out("artifacts/audit")
        (out / "audit.json").write_text(json.dumps({**figures, "classifier": origin}, indent=1) + "\n")
        (out / "metrics.json").write_text(json.dumps(headline(figures), indent=1) + "\n")
        shown, some = slice(parameters.columns), spread_evenly(np.arange(len(views)), parameters.columns)
        names = [photos.card["class_names"][label] for label in labels[shown]]
        write_grid(out / "grid.png", originals[shown], outputs[shown], views[some], names, windows, hu_range)
        plot(out / "histogram.png", outputs, views, patients, *hu_range)
        counts = {"photos": len(rows), "ct_views": len(views), "val_patients": len(set(patients))}
        write_card(out, "audit", **counts, classes=photos.card["classes"], classifier=origin, hu_range=list(hu_range))
        for line in in_words(figures):
            print(f"{job.name}: {line}")
    accelerator.wait_for_everyone()


def _val_slices(job: Job, hu_range: tuple[float, float], count: int) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Slices of val patients as one channel over `hu_range`, and whose each is."""
    corpus = Images(job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"), "hu")
    if tuple(corpus.card["hu_range"]) != hu_range:
        raise BadArtifact(f"{corpus.folder.name}: its HU range is not the translator's; run `dvc repro gan-generate`")
    parts = pq.read_table(job.input("artifacts/split/parts.parquet")).to_pylist()
    val = corpus.rows_of(part["id"] for part in parts if part["part"] == "val")
    if not len(val):
        raise BadArtifact("artifacts/split/parts.parquet: has no val patient; run `dvc repro split-ct`")
    rows = spread_evenly(np.sort(val), count)
    patients = corpus.column("patient")
    return corpus.shards.read(rows), [patients[row] for row in rows]


def _classifier(
    job: Job, parameters: GanAudit, card: dict[str, Any]
) -> tuple[nn.Module, npt.NDArray[np.int64] | None, dict[str, Any]]:
    """A module from uint8 images to logits, the columns of them that are the corpus' classes in order, what it is."""
    chosen = parameters.classifier
    if chosen is None:
        folder: Path = job.input("artifacts/pretrained/photos")
        trained, its_card = load_classifier(folder)
        if its_card["classes"] != card["classes"]:
            raise BadArtifact(f"{folder}: knows other classes than artifacts/photos; run `dvc repro corpus-pretrain`")
        return trained, None, {"trained_on": "photos", "architecture": its_card["architecture"]}
    index = {wnid: place for place, wnid in enumerate(card.get("imagenet_index", []))}
    unknown = [wnid for wnid in card["classes"] if wnid not in index]
    if unknown:
        raise BadArtifact(
            f"artifacts/photos: {unknown[0]} has no ImageNet index, which gan_audit.classifier needs; put ImageNet's "
            "synset_words.txt at the raw root of the photos, or set gan_audit.classifier: null"
        )
    columns = np.array([index[wnid] for wnid in card["classes"]], dtype=np.int64)
    model = load_timm(chosen.architecture, job.weights(chosen), chosen.side)
    return model, columns, {"trained_on": "imagenet", "architecture": chosen.architecture, "file": chosen.file}
