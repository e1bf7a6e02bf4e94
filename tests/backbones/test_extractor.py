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

from backbones.extractor import Extractor, extract, load_extractor
from backbones.feature_cnn import build, save_weights
from backbones.start import Start
from corpus.card import write_card
from settings.errors import BadInput, BadParameter
from training.precision import Decisions

NAME = "test_efficientnet.r160_in1k"  # timm's own miniature
FP32 = Decisions("cpu", "fp32", False, torch.get_num_threads())
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A file with a classifying layer, and timm's own network without one."""
    torch.manual_seed(0)
    network = build(NAME, 7, 1e-3).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.get_buffer("running_mean"))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    bare = timm.create_model(NAME, num_classes=0).eval()
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier")}
    bare.load_state_dict(kept)
    for module in bare.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    return tmp_path / "w.safetensors", bare


def test_features_are_timms_own(weights: tuple[Path, nn.Module]) -> None:
    file, bare = weights
    extractor = load_extractor(Start(file, 1e-3), NAME, 32)
    scale: Any = bare.pretrained_cfg
    mean, std = (torch.tensor(scale[key]) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = bare(((torch.tensor(PIXELS).float() / 255 - mean) / std).permute(0, 3, 1, 2))
        found = extractor.of_pixels(torch.tensor(PIXELS))
        signed = extractor(torch.tensor(PIXELS).permute(0, 3, 1, 2) / 127.5 - 1)
    assert found.shape == (5, 256) and torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(signed, found, atol=1e-5)
    assert extractor.name == f"{NAME}, w.safetensors, at 32 px"


def test_an_artifact_is_read_as_it_was_trained(tmp_path: Path) -> None:
    folder = tmp_path / "pretrained/photos"
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    model: Any = build(NAME, 3, 1e-5).eval()
    save_weights(model, folder)
    write_card(folder, "classifier", architecture=NAME, outputs=3, batchnorm_eps=1e-5, side=32)
    extractor = load_extractor(Start(folder))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(extractor(x), model.forward_head(model.forward_features(x), pre_logits=True), atol=1e-5)
    assert extractor.name == f"{NAME} of pretrained/photos at 32 px"


def test_images_are_resized_to_its_side(weights: tuple[Path, nn.Module]) -> None:
    extractor = load_extractor(Start(weights[0], 1e-3), NAME, 32)
    large, small = torch.full((1, 48, 48, 3), 77, dtype=torch.uint8), torch.full((1, 32, 32, 3), 77, dtype=torch.uint8)
    assert torch.allclose(extractor.of_pixels(large), extractor.of_pixels(small), atol=1e-5)


def test_it_is_frozen_and_gradients_pass_through(weights: tuple[Path, nn.Module]) -> None:
    extractor = load_extractor(Start(weights[0], 1e-3), NAME, 32)
    nn.Sequential(extractor).train()
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    x = torch.rand(2, 3, 20, 20, requires_grad=True)
    extractor(x).square().sum().backward()
    assert not extractor.training and not any(module.training for module in extractor.modules())
    assert x.grad is not None and bool((x.grad != 0).any())
    assert all(weight.grad is None for weight in extractor.parameters())
    assert all(torch.equal(value, before[name]) for name, value in extractor.state_dict().items())


def test_the_batch_changes_nothing(weights: tuple[Path, nn.Module]) -> None:
    extractor = load_extractor(Start(weights[0], 1e-3), NAME, 32)
    accelerator = Accelerator(cpu=True)
    one, all_ = (extract(extractor, PIXELS, batch, accelerator, FP32) for batch in (2, 5))
    assert one.shape == (5, 256) and one.dtype == np.float32 and np.allclose(one, all_, atol=1e-5)


def test_what_is_no_extractor_is_refused(weights: tuple[Path, nn.Module]) -> None:
    with pytest.raises(BadParameter, match="random weights"):
        load_extractor(Start(), NAME, 32)
    with pytest.raises(BadParameter, match="timm has no"):
        load_extractor(Start(weights[0]), "no_such_network", 32)
    with pytest.raises(BadInput, match=r"w\.safetensors: not of this architecture"):
        load_extractor(Start(weights[0]), "resnet18", 32)


def test_the_global_generator_is_left_alone(weights: tuple[Path, nn.Module]) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    load_extractor(Start(weights[0], 1e-3), NAME, 32)
    assert torch.equal(state, torch.get_rng_state())


def test_imagenets_xception_and_lite0_give_their_features() -> None:
    if not (data := os.environ.get("SCOPEFORMER_REAL_DATA")):
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with weights/")
    folder = Path(data) / "weights"
    x = torch.rand(1, 3, 96, 96) * 2 - 1
    for architecture, file, width in (
        ("legacy_xception", "legacy_xception_imagenet_notop_fp16.safetensors", 2048),
        ("tf_efficientnet_lite0", "tf_efficientnet_lite0_imagenet_fp16.safetensors", 1280),
    ):
        extractor: Extractor = load_extractor(Start(folder / file, 1e-3), architecture, 96)
        assert extractor(x).shape == (1, width) and bool(torch.isfinite(extractor(x)).all())
