import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from backbones.classifier import predict as cnn_logits
from backbones.feature_cnn import FeatureCnn, load_cnn
from corpus.card import read_card
from corpus.images import Images
from ct.labels import LABELS
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from settings.errors import BadArtifact
from tests.backbones import made
from tests.backbones.stages import CNN, COMMON, FINETUNE, IMAGES, SPLIT, checkout, execute, watch
from vit.head import predict

VIT = {"dim": 12, "depth": 1, "heads": 3, "mlp_ratio": 2, "dropout": 0.1, "drop_path": 0.0, "pool": "token"}
VARIANT = {"cnns": ["a", "a"], "patch": 1, "side": None, "projection": 4, "encoder": "vit", "seed": 0}
TRAIN = {**COMMON, "images": 24, "rotate": 10, "shift": 0.05}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_a_head_trains_on_the_head_half_and_moves_no_cnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same CNN twice. After training: its artifact byte for byte, and weights and BatchNorm buffers bit for bit."""
    checkout(tmp_path)
    cnns = {"a": CNN}
    tuned, maps = "artifacts/cnns/a", "artifacts/features/a"
    given = {"cnn_finetune": FINETUNE, "cnns": cnns}
    execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], tuned)
    given = {"extract_features": {"batch": 8, "cache": True}, "cnns": cnns}
    execute(tmp_path, monkeypatch, "extract-features@a", given, [IMAGES, tuned], maps)
    before = {name: digests(tmp_path / name) for name in (tuned, maps)}
    frozen = FeatureCnn(load_cnn(tmp_path / tuned)[0], "layer3")
    state = {name: value.clone() for name, value in frozen.state_dict().items()}

    rows = watch(monkeypatch)
    given = {"vit": VIT, "vit_train": TRAIN, "variants": {"two": VARIANT}}
    out = execute(tmp_path, monkeypatch, "vit-train@two", given, [maps, *SPLIT], "artifacts/vit/two")
    assert rows == {"a": set(range(12, 30))}, "the head half (12–23) and val (24–29) alone, and no image"
    assert before == {name: digests(tmp_path / name) for name in (tuned, maps)}
    again = FeatureCnn(load_cnn(tmp_path / tuned)[0], "layer3").state_dict()
    assert any("running_var" in name for name in state)
    for found in (frozen.state_dict(), again):
        assert all(torch.equal(state[name], found[name]) for name in state)

    card = read_card(out, "head")
    assert card["channels"] == 8 and len(card["inputs"]) == 2 and card["parameters"] > 0
    accelerator, decisions = made.machine()
    logits = predict(out, [tmp_path / maps] * 2, np.arange(24, 30), accelerator, decisions, 4)
    loss = weighted_log_loss(made.labels()[24:30], sigmoid(logits), label_weights(LABELS))
    assert card["val_weighted_log_loss"] == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("shuffled", [False, True])
def test_shuffled_labels_teach_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled: bool) -> None:
    """A linear head on a frozen CNN; on test no better than the prevalences, where true labels are learnt with ease."""
    monkeypatch.setattr(made, "PATIENTS", 60)
    monkeypatch.setattr(made, "PARTS", ["train"] * 40 + ["val"] * 8 + ["test"] * 12)
    checkout(tmp_path)
    rng = np.random.default_rng(0)
    for path in (tmp_path / name for name in SPLIT[1:] if shuffled):
        table = pq.read_table(path)
        pq.write_table(table.select(LABELS).take(rng.permutation(len(table))).add_column(0, "id", table["id"]), path)
    maps = "artifacts/features/a"
    given = {"extract_features": {"batch": 32, "cache": True}, "cnns": {"a": {**CNN, "trained_on": "nothing"}}}
    execute(tmp_path, monkeypatch, "extract-features@a", given, [IMAGES], maps)
    budget = {"images": 3200, "batch": 32, "learning_rate": 0.02, "evaluate_every": 800, "ema_half_life": 320}
    variant = {**VARIANT, "cnns": ["a"], "encoder": "linear", "projection": None}
    given = {"vit": VIT, "vit_train": {**TRAIN, **budget}, "variants": {"one": variant}}
    out = execute(tmp_path, monkeypatch, "vit-train@one", given, [maps, *SPLIT], "artifacts/vit/one")
    accelerator, decisions = made.machine()
    test = np.arange(48 * made.SLICES, 60 * made.SLICES)
    logits = predict(out, [tmp_path / maps], test, accelerator, decisions, 32)
    truth, weights = made.labels(), label_weights(LABELS)
    floor = weighted_log_loss(truth[test], np.tile(truth.mean(0), (len(test), 1)), weights)
    loss = weighted_log_loss(truth[test], sigmoid(logits), weights)
    assert loss > 0.99 * floor if shuffled else loss < 0.95 * floor


def test_baselines_and_context_on_one_cnn_and_a_planted_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leak: a CNN that was fitted on one slice of the head half is refused by every head."""
    checkout(tmp_path)
    tuned, maps = "artifacts/cnns/a", "artifacts/features/a"
    given: dict[str, Any] = {"cnn_finetune": FINETUNE, "cnns": {"a": CNN}}
    execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], tuned)
    assert pq.read_table(tmp_path / tuned / "fitted.parquet")["id"].to_pylist() == made.ids()[:12]  # the CNN half
    given = {"extract_features": {"batch": 8, "cache": True}, "cnns": {"a": CNN}}
    execute(tmp_path, monkeypatch, "extract-features@a", given, [IMAGES, tuned], maps)
    accelerator, decisions = made.machine()
    images = Images(tmp_path / IMAGES)
    own = cnn_logits(load_cnn(tmp_path / tuned)[0], images, np.arange(36), 32, 8, accelerator, decisions)
    context = {"dim": 12, "depth": 1, "heads": 2, "mlp_ratio": 2, "dropout": 0, "drop_path": 0, "reach": 2, "length": 3}
    plain = {**VARIANT, "projection": None}
    variants = {
        "mean-logits": {**plain, "encoder": "mean-logits"},
        "linear": {**plain, "encoder": "linear"},
        "context": {**plain, "encoder": "linear", "context": context},
    }
    cards = {}
    for name, entry in variants.items():
        given = {"vit": VIT, "vit_train": TRAIN, "variants": {name: entry}}
        out = execute(tmp_path, monkeypatch, f"vit-train@{name}", given, [maps, *SPLIT], f"artifacts/vit/{name}")
        cards[name] = read_card(out, "head")
        logits = predict(out, [tmp_path / maps] * 2, np.arange(24, 30), accelerator, decisions, 4)
        loss = weighted_log_loss(made.labels()[24:30], sigmoid(logits), label_weights(LABELS))
        assert cards[name]["val_weighted_log_loss"] == pytest.approx(loss, abs=1e-5)
        if name == "mean-logits":
            np.testing.assert_allclose(logits, own[24:30], atol=1e-4)
            assert not (out / "training.csv").exists()
    assert [card["parameters"] > 0 for card in cards.values()] == [False, True, True]
    assert cards["linear"]["train_slices"] == 12 and cards["mean-logits"]["train_slices"] == 0
    # the same CNN twice is counted once
    assert cards["linear"]["cnn_flops"] == cards["context"]["cnn_flops"] == read_card(tmp_path / maps)["flops"]

    leak = pa.table({"id": [*made.ids()[:12], made.ids()[20]]})
    pq.write_table(leak, tmp_path / maps / "fitted.parquet")
    for name, entry in variants.items():
        given = {"vit": VIT, "vit_train": TRAIN, "variants": {f"{name}-leak": entry}}
        with pytest.raises(BadArtifact, match=f"1 slices outside the CNN half of this split .first {made.ids()[20]}"):
            execute(
                tmp_path, monkeypatch, f"vit-train@{name}-leak", given, [maps, *SPLIT], f"artifacts/vit/{name}-leak"
            )


def test_a_pure_vit_reads_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    entry = {**VARIANT, "cnns": [], "side": 32, "patch": 8, "projection": None}
    given = {"vit": VIT, "vit_train": TRAIN, "variants": {"vit": entry}}
    out = execute(tmp_path, monkeypatch, "vit-train@vit", given, [IMAGES, *SPLIT], "artifacts/vit/vit")
    card = read_card(out, "head")
    assert card["grid"] == [32, 32] and card["channels"] == 3
    accelerator, decisions = made.machine()
    assert predict(out, [tmp_path / IMAGES], np.arange(3), accelerator, decisions, 2).shape == (3, 6)
