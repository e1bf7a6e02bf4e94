import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from audit.classifier import Audited
from audit.samples import spread_over_classes
from backbones.extractor import Extractor
from backbones.feature_cnn import build, save_weights
from corpus.card import write_card
from corpus.images import Images, finish_images
from corpus.shards import write_shard
from photos.parameters import Drawn
from photos.prepare import prepare_drawn
from settings.errors import BadArtifact
from settings.places import Local
from stages import gan_audit, run
from stages.run import Job

SECTION: dict[str, Any] = {
    "photos": 12, "confidence": 0.95, "retrieval": {"blur": 1.0, "noise_sd": 3.0},
    "probe": {"train_photos": 14, "seeds": 2, "inverse_penalty": 0.1, "blur": 1, "noise_sd": 5, "jpeg_quality": 75},
    "brain": [0, 80], "ct": {"kind": "crops", "zoom": [1, 2], "tissue": 0.3, "count": 6}, "squeezed": [20, 45],
    "columns": 4, "batch": 64, "classifier": None,
}  # fmt: skip
WINDOWS = [[40, 80], [80, 200], [40, 380]]
INPUTS = [
    "artifacts/photos", "artifacts/translated", "artifacts/controls/restyled", "artifacts/ct/hu-48",
    "artifacts/split/parts.parquet",
]  # fmt: skip


class ByBrightness(nn.Module):
    """n×3×H×W in -1…1 → mean and spread of the brightness."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1)


def by_brightness(folder: Path) -> tuple[Audited, dict[str, Any]]:
    return Audited(Extractor(ByBrightness(), "by brightness", 32), nn.Identity()), {
        "classes": ["n90000001", "n90000002"]
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Translated photos that are the photos in grey, and slices of four patients."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    for folder in (
        "photos",
        "translated",
        "controls/restyled",
        "ct/hu-48",
        "split",
        "pretrained/photos",
        ".audit.part",
    ):
        (tmp_path / "artifacts" / folder).mkdir(parents=True)
    place = tmp_path / "artifacts"
    prepare_drawn(
        Drawn(classes=2, per_class=16, held_out_share=0.5, seed=0), 32, tmp_path / "work-photos", place / "photos"
    )
    index = pq.read_table(place / "photos/index.parquet")
    photos = np.concatenate([np.load(shard) for shard in sorted((place / "photos").glob("*.npy"))])
    grey = photos.astype(np.float32).mean(-1, keepdims=True).astype(np.uint8)
    for name, images in (("translated", grey), ("controls/restyled", 255 - grey)):
        write_shard(place / name, 0, images)
        finish_images(place / name, "hu", index, [], hu_range=[-150.0, 230.0], windows=WINDOWS)

    y, x = np.mgrid[:48, :48] - 23.5
    slices = np.where(np.hypot(x, y) < 20, 130, 0).astype(np.uint8)[None, ..., None].repeat(12, axis=0)
    slices += np.random.default_rng(0).integers(0, 9, slices.shape, dtype=np.uint8)
    ids, patients = [f"s{i}" for i in range(12)], [f"p{i // 3}" for i in range(12)]
    write_shard(place / "ct/hu-48", 0, slices)
    table = pa.table({"id": ids, "patient": patients})
    finish_images(place / "ct/hu-48", "hu", table, [], hu_range=[-150.0, 230.0], windows=WINDOWS)
    parts = ["train"] * 3 + ["val"] * 6 + ["test"] * 3
    pq.write_table(pa.table({"id": ids, "patient": patients, "part": parts}), place / "split/parts.parquet")
    return tmp_path


def job(root: Path, section: dict[str, Any] = SECTION) -> Job:
    parameters = {"gan_audit": section, "prepare_ct": {"hu_side": 48}, "seed": 0}
    (root / "work").mkdir(exist_ok=True)
    inputs = frozenset([*INPUTS, "artifacts/pretrained/photos"])
    return Job(
        "gan-audit",
        parameters,
        root / "work",
        Local(device="cpu", precision="fp32"),
        inputs,
        frozenset(["artifacts/audit"]),
    )


def test_the_audit(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gan_audit, "load_trained", by_brightness)
    gan_audit.run(job(root))
    out = root / "artifacts/.audit.part"
    pictures = {"grid.png", "histogram.png", "kid.png", "probe.png"}
    assert {path.name for path in out.iterdir()} == {
        "audit.html", "audit.json", "metrics.json", "card.json", *pictures,
    }  # fmt: skip
    text = (out / "audit.json").read_text()
    figures = json.loads(text)
    assert "NaN" not in text and figures["retrieval"]["cells_8"]["translated"]["share"] == 1
    assert figures["agreement"]["chance"] == 0.5 and figures["agreement"]["photos"]["n"] == 12
    assert figures["hounsfield"]["all"]["translated"]["between_patients"]["patients"] == 2  # val patients, no others
    assert figures["kid"]["crops"]["descriptive"] and figures["kid"]["full"]["patients"] == 2
    assert figures["kid"]["full"]["ct"] is None  # three views of each patient
    assert [row["key"] for row in figures["rows"]] == [
        "retrieval_8", "probe_clean", "probe_blur", "probe_noise", "probe_jpeg", "kid_crops", "kid_full", "hu_all",
        "hu_brain", "consistency", "diversity", "agreement",
    ]  # fmt: skip
    assert set(figures["probe"]["jpeg"]) == {
        "photos", "grey", "grey_windowed", "grey_squeezed", "translated", "permuted", "restyled",
    }  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics.keys() == {"retrieval_8", "probe_clean", "probe_jpeg", "kid_crops"}
    assert metrics["retrieval_8"] == 100
    written = json.loads((out / "card.json").read_text())
    assert (
        written["kind"] == "audit" and written["val_patients"] == 2 and written["ct_views"] == {"crops": 6, "full": 6}
    )
    assert written["network"] == "by brightness"
    printed = capsys.readouterr().out
    assert "retrieval of the photo by 8×8 gradients, after blur and noise: 100.0 % (" in printed
    page = (out / "audit.html").read_text()
    assert page.index("Verdict.") < page.index("<figure") and page.count("data:image/png;base64,") == len(pictures)
    assert "http" not in page and "<script" not in page
    for words in ("training's own KID used", "descriptive below 20 patients (2 here)", "drawn: this page tests"):
        assert words in page


def test_three_free_channels_have_no_hounsfield_units(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_audit, "load_trained", by_brightness)
    folder = root / "artifacts/translated"
    index = pq.read_table(folder / "index.parquet")
    (folder / "images-00000.npy").unlink()
    colours = np.random.default_rng(0).integers(0, 256, (len(index), 32, 32, 3), dtype=np.uint8)
    write_shard(folder, 0, colours)
    finish_images(folder, "windows", index, [], windows=WINDOWS)
    gan_audit.run(job(root))
    out = root / "artifacts/.audit.part"
    rows = {row["key"]: row for row in json.loads((out / "audit.json").read_text())["rows"]}
    assert rows["hu_all"]["value"] is None and "three free channels" in rows["hu_all"]["verdict"]
    assert rows["consistency"]["value"] > 20
    assert rows["diversity"]["value"] > 0 and not (out / "histogram.png").exists()
    assert "Not to be had: Hounsfield histogram" in (out / "audit.html").read_text()


def test_the_classifier_that_was_trained_on_the_photos(root: Path) -> None:
    folder = root / "artifacts/pretrained/photos"
    torch.manual_seed(0)
    model = build("test_efficientnet", 2, 1e-3).eval()
    save_weights(model, folder)
    known = ["n90000001", "n90000002"]
    write_card(
        folder, "classifier", architecture="test_efficientnet", outputs=2, batchnorm_eps=1e-3, side=32, classes=known
    )
    gan_audit.run(job(root))
    agreed = json.loads((root / "artifacts/.audit.part/audit.json").read_text())["agreement"]["photos"]["share"]

    images = Images(root / "artifacts/photos")
    rows = spread_over_classes(images.column("label"), np.arange(16, 32), 12)
    pixels = torch.from_numpy(images.shards.read(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        named = model(pixels).argmax(1).numpy()
    assert agreed == pytest.approx((named == np.array(images.column("label"))[rows]).mean())


def test_a_classifier_of_other_classes_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_audit, "load_trained", lambda folder: (by_brightness(folder)[0], {"classes": ["n1", "n2"]}))
    with pytest.raises(BadArtifact, match="knows other classes"):
        gan_audit.run(job(root))


def test_an_imagenet_classifier_needs_imagenets_index(root: Path) -> None:
    chosen = {"architecture": "resnet18", "file": "w", "sha256": "0" * 64, "side": 32, "classes": "imagenet"}
    with pytest.raises(BadArtifact, match=r"n90000001 has no ImageNet index.*synset_words\.txt"):
        gan_audit.run(job(root, {**SECTION, "classifier": chosen}))


def test_translations_of_other_photos_are_refused(root: Path) -> None:
    folder = root / "artifacts/translated"
    index = pq.read_table(folder / "index.parquet")
    pq.write_table(index.take(list(range(len(index)))[::-1]), folder / "index.parquet")
    with pytest.raises(BadArtifact, match="of other photos"):
        gan_audit.run(job(root))


def test_no_val_patient_is_an_error(root: Path) -> None:
    parts = pa.table({"id": ["s0"], "patient": ["p0"], "part": ["train"]})
    pq.write_table(parts, root / "artifacts/split/parts.parquet")
    with pytest.raises(BadArtifact, match="no val patient"):
        gan_audit.run(job(root))
