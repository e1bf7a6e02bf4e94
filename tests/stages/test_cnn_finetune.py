import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.classifier import load_classifier
from corpus.card import read_card
from corpus.images import Images
from ct.labels import LABELS
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from settings.errors import BadParameter, Skipped
from tests.backbones import made
from tests.backbones.stages import CNN, FINETUNE, IMAGES, PRETRAIN, SPLIT, checkout, execute, watch

OUT = "artifacts/cnns/a"


def test_fits_the_cnn_half_and_states_the_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    rows = watch(monkeypatch)
    given = {"cnn_finetune": {**FINETUNE, "images": 24}, "cnns": {"a": CNN}}
    out = execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], OUT)
    assert rows == {"images-32": set(range(12)) | set(range(24, 30))}, "the CNN half (0–11) and val (24–29) alone"
    card = read_card(out, "cnn")
    assert card["classes"] == list(LABELS) and card["images"] == 24
    model, _ = load_classifier(out)
    for part, first, last in (("train", 0, 12), ("val", 24, 30)):
        with torch.no_grad():
            logits = model(torch.from_numpy(Images(tmp_path / IMAGES).shards.read(np.arange(first, last)))).numpy()
        loss = weighted_log_loss(made.labels()[first:last], sigmoid(logits), label_weights(LABELS))
        assert card[f"{part}_weighted_log_loss"] == pytest.approx(loss, abs=1e-5)


def test_a_start_of_another_architecture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    given = {"corpus_pretrain": PRETRAIN}
    start = "artifacts/pretrained/photos"
    execute(tmp_path, monkeypatch, "corpus-pretrain@photos", given, ["artifacts/photos"], start)
    other = {**CNN, "architecture": "test_efficientnet", "stage": "blocks", "start": "imagenet"}
    given = {"cnn_finetune": FINETUNE, "cnns": {"a": other}}
    with pytest.raises(BadParameter, match="test_efficientnet cannot start from photos"):
        execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT, start], OUT)


def test_a_fraction_reads_that_many_patients_and_too_few_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path)
    given = {"cnn_finetune": FINETUNE, "cnns": {"a": {**CNN, "fraction": 0.5}}}
    with pytest.raises(Skipped, match=r"cnns\.a\.fraction: 0\.5 of 4 patients is 2, fewer than 8"):
        execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], OUT)
    monkeypatch.setattr("evaluation.labelled.LEAST_PATIENTS", 2)
    for left in ("work", "artifacts/cnns"):
        shutil.rmtree(tmp_path / left)
    rows = watch(monkeypatch)
    out = execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], OUT)
    fitted = {row // made.SLICES for row in rows["images-32"] if row < 24}
    assert len(fitted) == 2 and fitted < {0, 1, 2, 3} and read_card(out, "cnn")["train_patients"] == 2
