"""A small set of artifacts with made-up figures, laid out as the stages write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from corpus.card import write_card
from corpus.images import Reject, finish_images
from corpus.masks import pack_mask
from corpus.shards import write_shard
from corpus.windows import quantise
from evaluation.cases import choose_cases, write_cases
from evaluation.falls import Falls, write_falls
from evaluation.metrics import sigmoid, summary
from evaluation.scores import Scores

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
WINDOWS = [[40, 80], [80, 200], [40, 380]]
CNNS = {
    "imagenet-a": {"architecture": "legacy_xception", "start": "imagenet", "trained_on": "ct", "seed": 0},
    "imagenet-b": {"architecture": "legacy_xception", "start": "imagenet", "trained_on": "ct", "seed": 1},
    "gan": {"architecture": "legacy_xception", "start": "gan-pretrain", "trained_on": "nothing", "seed": 0},
}
VARIANTS: dict[str, dict[str, Any]] = {
    name: {"cnns": cnns, "projection": projection, "encoder": "vit", "seed": 0, "side": side, "paper": paper}
    for name, cnns, projection, side, paper in (
        ("vit", [], None, 96, "ViT"),
        ("gan-1", ["gan"], None, None, "1-CNN-ViT (GAN)"),
        ("imagenet-1", ["imagenet-a"], None, None, None),
        ("2-cnn", ["imagenet-a", "gan"], None, None, "2-CNN-ViT (ImageNet/GAN)"),
        ("3-cnn", ["imagenet-a", "imagenet-b", "gan"], None, None, "3-CNN-ViT (ImageNet/ImageNet/GAN)"),
        ("2-cnn-small", ["imagenet-a", "gan"], 128, None, "2-CNN-ViT small (ImageNet/GAN)"),
        ("same-file-2", ["imagenet-a", "imagenet-a"], None, None, None),
        ("same-recipe-2", ["imagenet-a", "imagenet-b"], None, None, None),
    )
}
HU_SIDE = 32
CALIBRATION = {key: {"before": {"value": 0.2}, "after": {"value": 0.1}} for key in ("calibration_error", "log_loss")}
PER_PATIENT = 4


def head_slice(side: int, blood: float = 0.0) -> np.ndarray:
    """One slice in HU (side×side): air, a ring of bone, brain of 30 HU; a disc of 60 HU of radius `blood`·side."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    r = np.hypot(x, y)
    hu = np.where(r < 0.42, np.where(r < 0.36, 30.0, 1000.0), -1000.0)
    return np.where(np.hypot(x - 0.1, y) < blood, 60.0, hu)


def make_split(root: Path, patients: int = 20) -> None:
    """artifacts/ct/hu-32 and artifacts/split: blood is drawn on a slice where `any` is 1."""
    rng = np.random.default_rng(0)
    count = patients * PER_PATIENT
    who = [f"p{n // PER_PATIENT:04d}" for n in range(count)]
    ids = [f"i{n:04d}" for n in range(count)]
    truth = (rng.random((count, 6)) < 0.3).astype(np.uint8)
    truth[:, 5] = truth[:, :5].max(axis=1)
    part = np.array(["train", "train", "val", "test"])[np.arange(count) // PER_PATIENT % 4]
    half = np.where(part == "train", np.array(["cnn", "head"])[np.arange(count) // PER_PATIENT % 2], "")
    hu = np.stack([head_slice(HU_SIDE, 0.15 if row[5] else 0) for row in truth])
    folder = root / f"artifacts/ct/hu-{HU_SIDE}"
    folder.mkdir(parents=True)
    write_shard(folder, 0, quantise(hu, -150, 230)[..., None])
    index = pa.table(
        {
            "id": ids,
            "patient": who,
            "series": [name.replace("p", "s") for name in who],
            "position": pa.array(np.arange(count) % PER_PATIENT * 5.0, pa.float32()),
            "place": pa.array(np.arange(count) % PER_PATIENT / (PER_PATIENT - 1), pa.float32()),
        }
    )
    counts: dict[str, Any] = {
        "files": 41,
        "patients": patients,
        "series": patients,
        "repaired": 0,
        "rejected_by": {"truncated": 1},
    }
    finish_images(
        folder, "hu", index, [Reject("a", "truncated", "short")], hu_range=[-150, 230], windows=WINDOWS, **counts
    )
    split = root / "artifacts/split"
    split.mkdir()
    pq.write_table(pa.table({"id": ids, "patient": who, "part": part, "half": half}), split / "parts.parquet")
    for name in ("train", "val", "test"):
        rows = np.flatnonzero(part == name)
        columns = {label: truth[rows, i] for i, label in enumerate(LABELS)}
        pq.write_table(pa.table({"id": [ids[r] for r in rows], **columns}), split / f"labels-{name}.parquet")


def make_above(root: Path) -> None:
    """What the report reads besides the split and the floors."""
    rng = np.random.default_rng(1)
    artifacts = root / "artifacts"
    parts = {row["id"]: row for row in pq.read_table(artifacts / "split/parts.parquet").to_pylist()}
    index = pa.table({"id": [f"f{n}" for n in range(12)], "part": ["train"] * 8 + ["val"] * 4})
    for name, kind, channels in (("photos", "photos", 3), ("translated", "hu", 1)):
        (artifacts / name).mkdir()
        write_shard(artifacts / name, 0, rng.integers(0, 255, (12, 16, 16, channels), dtype=np.uint8))
        finish_images(artifacts / name, kind, index, [], classes=["n1", "n2"], hu_range=[-150, 230], windows=WINDOWS)
    for path in (
        "gan",
        "audit",
        "provenance",
        "pretrained/photos",
        "pretrained/translated",
        "cnns",
        "vit",
        "evaluation",
    ):
        (artifacts / path).mkdir(parents=True, exist_ok=True)
    write_card(artifacts / "gan", "translator")
    write_curves(artifacts / "gan", ["cycle", "identity", "fool"], ["cycle_error", "diversity"])
    for images in (400, 1000):
        Image.new("RGB", (60, 30), (images % 255, 0, 0)).save(artifacts / f"gan/samples-{images}.png")
    (artifacts / "audit/metrics.json").write_text(json.dumps({"retrieval_8": 0.5, "hu_distance": 12.0}))
    audit = {"retrieval": {"n": 12, "share": 0.5, "interval": [0.2, 0.8]}, "histogram": list(range(50)), "ct": None}
    (artifacts / "audit/audit.json").write_text(json.dumps(audit))
    Image.new("RGB", (30, 30)).save(artifacts / "audit/grid.png")
    for corpus in ("photos", "translated"):
        write_card(artifacts / "pretrained" / corpus, "classifier")
        write_curves(artifacts / "pretrained" / corpus, ["loss"], ["loss", "top1"])
    for name in ("imagenet-a", "imagenet-b"):
        (artifacts / "cnns" / name).mkdir()
        losses = {"train_weighted_log_loss": 0.12, "val_weighted_log_loss": 0.2}
        write_card(artifacts / "cnns" / name, "cnn", **losses)
        write_curves(artifacts / "cnns" / name, ["loss"], ["weighted_log_loss"])
    for number, (name, variant) in enumerate(VARIANTS.items()):
        (artifacts / "vit" / name).mkdir()
        channels = 3 if not variant["cnns"] else 1024 * len(variant["cnns"])
        write_card(
            artifacts / "vit" / name,
            "head",
            grid=[6, 6],
            channels=channels,
            parameters=190_000 + number,
            flops=10**7,
            cnn_parameters=10**6 * len(VARIANTS[name]["cnns"]),
            cnn_flops=10**8 * len(VARIANTS[name]["cnns"]),
        )
        write_curves(artifacts / "vit" / name, ["loss"], ["weighted_log_loss"])
        (artifacts / "evaluation" / name).mkdir()
        details = {}
        for part in ("val", "test"):
            table = pq.read_table(artifacts / f"split/labels-{part}.parquet")
            truth = np.stack([table[label].to_numpy() for label in LABELS], axis=1)
            logits = (truth * 2.0 - 1) * 0.4 * (number + 1) + rng.normal(size=truth.shape)
            patients = [parts[id_]["patient"] for id_ in table["id"].to_pylist()]
            details[part] = summary(truth, sigmoid(logits), patients, LABELS)
        write_scores(artifacts / f"evaluation/{name}/scores.parquet", truth, logits, table["id"].to_pylist(), patients)
        details["levels"] = {"slices": {"labels": {label: {"calibration": CALIBRATION} for label in LABELS}}}
        (artifacts / f"evaluation/{name}/details.json").write_text(json.dumps(details))
        test = Scores(table["id"].to_pylist(), patients, truth, logits)
        write_looks(artifacts / "evaluation" / name, test, falls=name != "vit")
        write_card(artifacts / "evaluation" / name, "evaluation")
    write_lesions(artifacts / "phantom-masks", artifacts / "split/labels-test.parquet")
    for stage in ("split-ct", "vit-train@2-cnn"):
        record = {
            "stage": stage,
            "fingerprint": "0123456789abcdef",
            "parameters": {"vit": {"dim": 96}, "seed": 3},
            "inputs": {"artifacts/split/parts.parquet": "ab" * 32},
            "code": {"corpus/card.py": "cd" * 32},
            "versions": {"python": "3.11.2", "torch": "2.14.1"},
            "revision": "0123456789ab",
            "seconds": 100.4,
            "computing": {"torch_device": "cpu", "precision": "bf16", "ranks": 1},
        }
        (artifacts / f"provenance/{stage}.json").write_text(json.dumps(record))


def write_looks(folder: Path, test: Scores, falls: bool) -> None:
    """What an evaluation leaves of occlusion, on 4×4 places; the deepest is (2, 2), right of the middle."""
    Image.new("RGB", (40, 40)).save(folder / "reliability.png")
    write_cases(folder / "cases.csv", choose_cases(test, LABELS))
    if falls:
        values = np.random.default_rng(2).normal(size=(len(test.ids), len(LABELS), 4, 4)).astype(np.float32)
        values[..., 2, 2] = 5
        write_falls(folder / "occlusion.parquet", Falls(test.ids, values), LABELS)


def write_scores(path: Path, truth: np.ndarray, logits: np.ndarray, ids: list[str], patients: list[str]) -> None:
    """scores.parquet with the test part alone."""
    columns: dict[str, Any] = {"id": ids, "patient": patients, "part": ["test"] * len(ids)}
    columns |= {label: truth[:, i].astype(np.uint8) for i, label in enumerate(LABELS)}
    columns |= {f"logit_{label}": logits[:, i].astype(np.float32) for i, label in enumerate(LABELS)}
    pq.write_table(pa.table(columns), path)


def write_lesions(folder: Path, labels: Path) -> None:
    """artifacts/phantom-masks for the slices of a label file: 30, 130, 230 … mm² in turn; all masks are one disc."""
    table = pq.read_table(labels)
    found = [
        (id_, name)
        for name in LABELS[:-1]
        for id_, one in zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True)
        if one
    ]
    folder.mkdir()
    columns = {"id": [id_ for id_, _ in found], "hash": [id_ for id_, _ in found], "label": [name for _, name in found]}
    areas = [30.0 + 100 * (n % 8) for n in range(len(found))]
    y, x = np.mgrid[:64, :64] / 64 - 0.5
    mask = pack_mask(np.hypot(x - 0.1, y) < 0.15)  # where make_split draws blood
    each = {"labelled": True, "rows": 64, "columns": 64, "mask": mask}
    repeated = {name: [value] * len(found) for name, value in each.items()}
    pq.write_table(pa.table({**columns, "area_mm2": areas, **repeated}), folder / "lesions.parquet")
    write_card(folder, "lesions")


def write_curves(folder: Path, training: list[str], validation: list[str]) -> None:
    """training.csv and validation.csv with falling figures."""
    for name, columns, points in (("training", training, 20), ("validation", validation, 4)):
        rows = [",".join(["images", *columns])]
        for n in range(1, points + 1):
            images = 1000 * n // points
            rows.append(
                ",".join([str(images), *(f"{0.1 + 200 / (images + 200 + 9 * i):.4f}" for i in range(len(columns)))])
            )
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
