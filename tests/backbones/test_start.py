from typing import Any

import pytest
import timm
import torch
from torch import nn

from backbones.feature_cnn import build
from backbones.start import Start, find_start, start_cnn
from settings.errors import BadParameter, WrongEnvironment

NAME = "tf_efficientnet_lite0"  # timm has weights of it, with BatchNorm's eps of TensorFlow


def nothing(path: Any) -> Any:
    raise AssertionError("neither a file nor an artifact is asked for")


def test_timms_weights_keep_their_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    create, asked = timm.create_model, []

    def pretrained(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        asked.append((name, pretrained, num_classes))
        torch.manual_seed(7)
        return create(name, pretrained=False, num_classes=num_classes)

    monkeypatch.setattr(timm, "create_model", pretrained)
    start = find_start("timm", None, nothing, nothing)
    model, eps = start_cnn(NAME, 6, start, 0, keep_classifier=False)
    assert asked == [(NAME, True, 6)] and eps == 1e-3
    monkeypatch.undo()
    again = build(NAME, 6, eps)  # as an artifact with this card is rebuilt
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model.eval()(x))


def test_a_hub_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to\nhost")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(WrongEnvironment, match=r"cannot be fetched from its hub \(no route to host\)"):
        start_cnn(NAME, 6, Start(timm=True), 0, keep_classifier=False)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_weights_that_want_other_images_get_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet's mean and deviation, as these were published with; nothing is fetched."""
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained, num_classes: create(name, num_classes=num_classes)
    )
    model, _ = start_cnn(name, 6, Start(timm=True), 0, keep_classifier=False)
    torch.manual_seed(0)
    theirs, signed = create(name, num_classes=6).eval(), torch.rand(1, 3, 64, 64) * 2 - 1
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = theirs(((signed + 1) / 2 - mean) / std)
        torch.testing.assert_close(model.eval()(signed), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["legacy_xceptoin", "efficientnet_lite1"])
def test_an_architecture_without_weights_is_said(name: str) -> None:
    with pytest.raises(BadParameter, match=f"timm has no weights for '{name}'"):
        start_cnn(name, 6, Start(timm=True), 0, keep_classifier=False)
