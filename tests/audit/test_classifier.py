import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn

from audit.classifier import Audited, imagenet_columns, load_timm, load_trained
from backbones.extractor import extract
from backbones.feature_cnn import build, save_weights
from corpus.card import write_card
from settings.errors import BadArtifact, BadInput, BadParameter
from training.precision import Decisions

NAME = "test_efficientnet.r160_in1k"  # timm's own miniature
FP32 = Decisions("cpu", "fp32", False, torch.get_num_threads())


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def logits(audited: Audited, images: np.ndarray, accelerator: Accelerator, batch: int = 5) -> np.ndarray:
    return audited.logits(extract(audited.extractor, images, batch, accelerator, FP32))


def weights(folder: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    network = timm.create_model(NAME).eval()
    stored = {name: value.half() for name, value in network.state_dict().items() if "num_batches" not in name}
    save_file(stored, folder / "w.safetensors")
    network.load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    return folder / "w.safetensors", network


def test_logits_are_timms_own(tmp_path: Path, accelerator: Accelerator) -> None:
    file, network = weights(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    columns = np.array([7, 3, 500])
    audited = load_timm(NAME, file, 32)
    found = logits(audited, images, accelerator)[:, columns]
    scale: Any = network.pretrained_cfg
    mean, std = (torch.tensor(scale[key]) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = network(((torch.tensor(images).float() / 255 - mean) / std).permute(0, 3, 1, 2))[:, columns]
    assert found.shape == (5, 3) and np.allclose(found, expected, atol=1e-4)
    assert audited.extractor.name == f"{NAME}, w.safetensors, at 32 px"


def test_other_weights_are_refused(tmp_path: Path) -> None:
    file, _ = weights(tmp_path)
    with pytest.raises(BadParameter, match="timm has no"):
        load_timm("no_such_network", file, 32)
    with pytest.raises(BadInput, match=r"w\.safetensors is not of resnet18"):
        load_timm("resnet18", file, 32)


def test_a_trained_cnn_is_split_likewise(tmp_path: Path, accelerator: Accelerator) -> None:
    folder = tmp_path / "pretrained/photos"
    folder.mkdir(parents=True)
    model = build(NAME, 3, 1e-5).eval()
    save_weights(model, folder)
    write_card(folder, "classifier", architecture=NAME, outputs=3, batchnorm_eps=1e-5, side=32, classes=["a", "b", "c"])
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    audited, card = load_trained(folder)
    with torch.inference_mode():
        expected = model(torch.tensor(images).permute(0, 3, 1, 2) / 127.5 - 1)
    assert card["classes"] == ["a", "b", "c"] and np.allclose(logits(audited, images, accelerator), expected, atol=1e-4)
    assert audited.extractor.name == f"{NAME} of pretrained/photos at 32 px"


def test_columns_are_the_corpus_classes() -> None:
    assert imagenet_columns({"classes": ["n3", "n1"], "imagenet_index": ["n1", "n2", "n3"]}).tolist() == [2, 0]
    with pytest.raises(BadArtifact, match=r"n9 has no ImageNet index.*synset_words\.txt"):
        imagenet_columns({"classes": ["n9"]})


def test_the_held_out_classifier_on_real_photos(accelerator: Accelerator) -> None:
    if not (data := os.environ.get("SCOPEFORMER_REAL_DATA")):
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with imagenet/ and weights/")
    from photos.folder import read_photo

    root = Path(data) / "imagenet"
    words = [line.split()[0] for line in (root / "synset_words.txt").read_text().splitlines()]
    classes = sorted(path.name for path in (root / "val").iterdir())
    files = [
        (label, file) for label, wnid in enumerate(classes) for file in sorted((root / "val" / wnid).iterdir())[:2]
    ]
    model = load_timm(
        "tf_efficientnet_lite0", Path(data) / "weights/tf_efficientnet_lite0_imagenet_fp16.safetensors", 224
    )
    images = np.stack([read_photo(file.read_bytes(), 224) for _, file in files])
    columns = np.array([words.index(wnid) for wnid in classes])
    named = logits(model, images, accelerator)[:, columns].argmax(1)
    assert (named == [label for label, _ in files]).mean() >= 0.95
