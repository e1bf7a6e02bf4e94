"""Weights that want other images than -1…1 get them, wherever the network goes; against timm's own network."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from backbones.augment import to_input
from backbones.extractor import load_extractor
from backbones.feature_cnn import FeatureCnn, build, load_cnn, save_weights
from backbones.features import Frozen, extract, load_frozen
from backbones.scaling import SIGNED, scale_of, take_signed
from backbones.start import Start, start_cnn
from corpus.card import write_card
from corpus.images import Images
from ct.labels import LABELS
from settings.errors import BadParameter
from tests.backbones import made

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
OTHER, STAGE = "test_efficientnet.r160_in1k", "blocks.1"  # of ImageNet's mean and deviation
PIXELS = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def timms(name: str) -> nn.Module:
    """timm's network as it publishes it, with statistics that are not those of the start."""
    torch.manual_seed(1)
    network: nn.Module = timm.create_model(name, num_classes=6)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.get_buffer("running_mean"), std=0.1)
    return network.eval()


def timms_input(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """As torchvision writes it down for ImageNet."""
    return ((PIXELS.double() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2).float()


def answers(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network.eval()(x)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timms(OTHER).state_dict(), path)
    return path


@pytest.mark.parametrize(
    "name", [OTHER, "convnext_atto", "resnet10t", "mobilenetv3_small_050", "regnetx_002", "densenet121"]
)
def test_a_cnn_answers_as_timms_does_to_images_as_it_wants_them(name: str) -> None:
    theirs, own = timms(name), build(name, 6, 1e-5, None)
    own.load_state_dict(theirs.state_dict())
    assert scale_of(own) == IMAGENET
    expected = answers(theirs, timms_input(**IMAGENET))
    torch.testing.assert_close(answers(own, to_input(PIXELS, 64)), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(answers(theirs, to_input(PIXELS, 64)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "legacy_xception"])
def test_one_that_wants_signed_images_is_left_alone(name: str) -> None:
    for scale in (None, SIGNED):
        assert not any(module._forward_pre_hooks for module in build(name, 6, 1e-5, scale).modules())


def test_random_weights_want_what_they_are_given() -> None:
    model, _ = start_cnn(OTHER, 6, Start(), 0, keep_classifier=False)
    assert scale_of(model) == SIGNED._asdict() and not any(module._forward_pre_hooks for module in model.modules())


def test_a_file_keeps_its_scale_through_all_that_is_made_of_it(file: Path, tmp_path: Path) -> None:
    """Trained on, copied, cut, as a card says it, and as what an extractor or another training starts from."""
    x, theirs = to_input(PIXELS, 64), timms(OTHER)
    expected = answers(theirs, timms_input(**IMAGENET))
    model, eps = start_cnn(OTHER, 6, Start(file), 0, keep_classifier=True)
    folder = tmp_path / "pretrained"
    folder.mkdir()
    save_weights(model, folder)
    card = {"architecture": OTHER, "outputs": 6, "batchnorm_eps": eps, "side": 64, **scale_of(model)}
    write_card(folder, "classifier", **card)
    again, _ = start_cnn(OTHER, 6, Start(folder), 0, keep_classifier=True)
    for network in (model, copy.deepcopy(model), load_cnn(folder)[0], again):
        torch.testing.assert_close(answers(network, x), expected, rtol=1e-3, atol=1e-4)
    cut = create_feature_extractor(theirs, {STAGE: "map"}).eval()
    with torch.no_grad():
        expected = cut(timms_input(**IMAGENET))["map"]
    torch.testing.assert_close(FeatureCnn(model, STAGE)(x), expected, rtol=1e-3, atol=1e-4)
    one, other = load_extractor(Start(file), OTHER, 64), load_extractor(Start(folder))
    torch.testing.assert_close(one(x), other(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("labels", [(), LABELS])
def test_frozen_cnns_keep_it(labels: tuple[str, ...], file: Path, tmp_path: Path) -> None:
    images = Images(made.ct(tmp_path / "ct"), "windows")
    model, eps = start_cnn(OTHER, 6, Start(file), 0, keep_classifier=True)
    expected = answers(FeatureCnn(copy.deepcopy(model), STAGE), to_input(PIXELS, 64))
    for place in ("work", "out"):
        (tmp_path / place).mkdir()
    frozen = Frozen("a", model, OTHER, 6, eps, STAGE, labels)
    extract(frozen, images, 8, False, tmp_path / "work", tmp_path / "out", *made.machine())
    found: Any = load_frozen(tmp_path / "out")[0](to_input(PIXELS, 64))
    torch.testing.assert_close(found[0] if labels else found, expected, rtol=1e-3, atol=1e-4)


def test_a_cnn_whose_images_cannot_be_scaled_is_said() -> None:
    model: Any = timms(OTHER)
    model.pretrained_cfg["first_conv"] = "blocks.0.0.conv"
    with pytest.raises(BadParameter, match=r"of test_efficientnet want images of mean \(0\.485, .* another architec"):
        take_signed(model, None)
