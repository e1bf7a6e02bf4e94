"""Small trained variants with their whole way from DICOM files, for the tests of `predict`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from backbones.feature_cnn import build, save_weights, weights_digest
from backbones.features import Frozen, extract
from backbones.fitted import write_fitted
from corpus.card import write_card
from corpus.images import Images
from corpus.windows import Window
from ct.convert import Forms
from ct.labels import LABELS
from ct.prepare import prepare
from ct.raw_files import find_files
from evaluation.labelled import Labelled
from tests.backbones import made
from tests.vit.heads import CONTEXT, TRAIN, VIT
from vit.head import load_head
from vit.parameters import Variant
from vit.train import train_head

SMALL = "test_resnet.r160_in1k"
WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
SIDES = {"a": 32, "b": 48}  # of the CNNs; a saw CT labels
PLAIN: dict[str, Any] = {"patch": 1, "projection": None, "side": None, "encoder": "vit", "seed": 0}
VARIANTS: dict[str, dict[str, Any]] = {
    "two": {"cnns": ("b", "a", "b"), "grid": (2, 2)},
    "series": {"cnns": ("a",), "context": CONTEXT.model_dump()},
    "mean": {"cnns": ("a", "a"), "encoder": "mean-logits"},
    "pure": {"cnns": (), "side": 32, "patch": 16},
}
SHORT = TRAIN.model_copy(update={"images": 8, "evaluate_every": 8})
TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
SLICES = 5  # of a series
POSITIVE = (0, 1, 2, 3, 4, 20)  # of 100 slices on val


def sources_of(artifacts: Path, name: str) -> list[Path]:
    """What the head of a variant reads."""
    cnns = VARIANTS[name]["cnns"]
    return [artifacts / "features" / cnn for cnn in cnns] or [artifacts / "ct/images-32"]


def make_artifacts(raw: Path, artifacts: Path, variants: list[str]) -> None:
    """Everything that `dvc repro` would leave for some VARIANTS, of the files in `raw`; weights all but random.

    The last patient's slices are val, those of the others the head half of train.
    """
    images = {side: artifacts / f"ct/images-{side}" for side in SIDES.values()}
    for folder in (*images.values(), artifacts / "ct/hu-32", artifacts / "split"):
        folder.mkdir(parents=True)
    prepare(
        find_files(raw, None), Forms(WINDOWS, (32, 48), 32), True, 0.0, artifacts / "w", images, artifacts / "ct/hu-32"
    )
    index = Images(images[32], "windows").index
    ids, patients = index["id"].to_pylist(), index["patient"].to_pylist()
    write_fitted(artifacts, index["id"].slice(0, 0))
    for seed, (name, side) in enumerate(SIDES.items()):
        torch.manual_seed(seed)
        labels = LABELS if name == "a" else ()
        frozen = Frozen(name, build(SMALL, 6, 1e-5), SMALL, 6, 1e-5, "layer3", labels, artifacts if labels else None)
        for folder in (artifacts / "features" / name, artifacts / f"w-{name}"):
            folder.mkdir(parents=True)
        corpus = Images(images[side], "windows")
        extract(frozen, corpus, 4, True, artifacts / f"w-{name}", artifacts / "features" / name, *made.machine())
    truth = np.random.default_rng(0).integers(0, 2, (len(ids), 6), dtype=np.uint8)
    val = np.array(patients) == patients[-1]
    parts = {"id": ids, "patient": patients, "part": np.where(val, "val", "train"), "half": np.where(val, "", "head")}
    pq.write_table(pa.table(parts), artifacts / "split/parts.parquet")
    fit, held = (labelled(ids, patients, truth, chosen) for chosen in (~val, val))
    accelerator, decisions = made.machine()
    for name in variants:
        folder = artifacts / "vit" / name
        folder.mkdir(parents=True)
        run, table = made.run(artifacts / f"w-{name}", 8), artifacts / "split/parts.parquet"
        variant = Variant(**{**PLAIN, **VARIANTS[name]})
        train_head(
            name, variant, VIT, sources_of(artifacts, name), images.__getitem__, table, fit, held,
            LABELS, SHORT, run, folder, accelerator, decisions,
        )  # fmt: skip
        enlarge(folder)
        evaluation(artifacts / "evaluation" / name, weights_digest(folder))
    (artifacts.parent / "params.yaml").write_text(json.dumps({"variants": dict.fromkeys(variants)}))


def labelled(ids: list[str], patients: list[str], truth: np.ndarray, chosen: np.ndarray) -> Labelled:
    rows = np.flatnonzero(chosen)
    half = "" if chosen[-1] else "head"
    return Labelled([ids[r] for r in rows], [patients[r] for r in rows], [half] * len(rows), truth[rows])


def enlarge(folder: Path) -> None:
    """Weights so large that slices have answers far apart, which so little training does not give."""
    head, _ = load_head(folder)
    with torch.no_grad():
        for name, weights in head.named_parameters():
            if weights.ndim > 1 and "position" not in name and "token" not in name:
                weights.mul_(10)
    save_weights(head, folder)


def evaluation(folder: Path, head: str) -> None:
    """Of `details.json` and the card what `predict` reads."""
    folder.mkdir(parents=True)
    levels = {n: {"calibration": {"temperature": t}} for n, t in zip(LABELS, TEMPERATURES, strict=True)}
    val = {"slices": 100, "labels": {n: {"positive_slices": p} for n, p in zip(LABELS, POSITIVE, strict=True)}}
    details = {"val": val, "levels": {"slices": {"labels": levels}}}
    (folder / "details.json").write_text(json.dumps(details))
    write_card(folder, "evaluation", variant=folder.name, head=head)
