import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones.feature_cnn import build
from backbones.start import Start, start_cnn
from corpus.card import read_card
from settings.errors import BadInput
from tests.backbones.stages import PRETRAIN, SMALL, checkout, execute, watch

PHOTOS, TRANSLATED = "artifacts/pretrained/photos", "artifacts/pretrained/translated"
STILL = {**PRETRAIN, "learning_rate": 1e-30}  # trains without moving a weight


def kernels(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors that only an optimiser moves."""
    tensors = load_file(folder / "model.safetensors")
    return {name: value for name, value in tensors.items() if name.endswith(("weight", "bias"))}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=0, atol=1e-12) for name in one
    )


def photos(root: Path, monkeypatch: pytest.MonkeyPatch, **change: Any) -> Path:
    given = {"corpus_pretrain": PRETRAIN, **change}
    return execute(root, monkeypatch, "corpus-pretrain@photos", given, ["artifacts/photos"], PHOTOS)


def test_gan_pretrain_trains_the_photos_cnn_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    first = photos(tmp_path, monkeypatch)
    card = read_card(first, "classifier")
    assert [card["architecture"], card["outputs"], card["classes"]] == [SMALL, 2, ["n1", "n2"]]
    assert (first / "training.csv").exists() and (first / "validation.csv").read_text().startswith("images,val_loss")
    inputs = ["artifacts/translated", PHOTOS]
    again = execute(tmp_path, monkeypatch, "gan-pretrain", {"corpus_pretrain": STILL}, inputs, TRANSLATED)
    assert same(kernels(first), kernels(again))


def test_other_corpora_start_from_the_photos_cnn_at_the_same_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path)
    first = photos(tmp_path, monkeypatch)
    shutil.copytree(tmp_path / "artifacts/translated", tmp_path / "artifacts/controls/grey")
    for name, corpus in (("original", "artifacts/photos"), ("grey", "artifacts/controls/grey")):
        with monkeypatch.context() as patch:
            read, out = watch(patch), f"artifacts/pretrained/{name}"
            given = {"corpus_pretrain": STILL}
            made = execute(tmp_path, patch, f"corpus-pretrain@{name}", given, [corpus, PHOTOS], out)
        assert read.keys() == {corpus.rpartition("/")[2]}
        assert same(kernels(first), kernels(made)), "it starts from the stand-in's weights"
        assert read_card(made, "classifier")["images"] == read_card(first, "classifier")["images"]


def test_a_weights_file_is_the_start_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    stored = {name: v.half() for name, v in build(SMALL, 0, 1e-3).state_dict().items() if v.is_floating_point()}
    save_file(stored, tmp_path / "w.safetensors")
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    weights = {"file": "w.safetensors", "sha256": digest, "batchnorm_eps": 1e-3}
    given = {"corpus_pretrain": STILL, "imagenet": weights}
    out = execute(tmp_path, monkeypatch, "gan-pretrain", given, ["artifacts/translated"], TRANSLATED, tmp_path)
    trained = kernels(out)
    widened = {name: v.float() for name, v in stored.items() if name.endswith(("weight", "bias"))}
    assert same({name: trained[name] for name in widened}, widened)
    assert read_card(out, "classifier")["batchnorm_eps"] == 1e-3
    given["imagenet"] = {**weights, "sha256": "0" * 64}
    with pytest.raises(BadInput, match="SHA-256"):
        execute(tmp_path / "b", monkeypatch, "gan-pretrain", given, ["artifacts/translated"], TRANSLATED, tmp_path)


def test_the_seed_decides_the_random_start() -> None:
    first, again, other = (
        start_cnn(SMALL, 2, Start(), seed, keep_classifier=True)[0].state_dict() for seed in (0, 0, 1)
    )
    assert same(first, again) and not same(first, other)
