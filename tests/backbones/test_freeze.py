import pytest
import torch

from backbones.feature_cnn import build
from backbones.freeze import freeze
from settings.errors import BadParameter

SMALL = "test_resnet.r160_in1k"


def test_all_up_to_the_module_and_nothing_behind_it() -> None:
    model = build(SMALL, 6, 1e-5)
    frozen = freeze(model, "layer2")
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert still == {
        name for name, _ in model.named_parameters() if name.startswith(("conv1", "bn1", "layer1", "layer2"))
    }
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert sum(m in frozen for m in norms) == sum(not m.weight.requires_grad for m in norms) > 2


def test_a_name_inside_a_block_and_one_that_another_begins_with() -> None:
    model = build("legacy_xception", 6, 1e-5)
    freeze(model, "block1")
    assert not model.block1.rep[0].conv1.weight.requires_grad  # type: ignore[union-attr,index]
    assert model.block10.rep[1].conv1.weight.requires_grad  # type: ignore[union-attr,index]
    model = build(SMALL, 6, 1e-5)
    freeze(model, "layer1.0.bn1")
    assert [model.get_parameter(f"layer1.0.{name}.weight").requires_grad for name in ("conv1", "bn1", "conv2")] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(("until", "message"), [("layer9", "no module 'layer9'; it has conv1"), ("layer4", "nothing")])
def test_what_cannot_be_frozen_is_said(until: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        freeze(build(SMALL, 6, 1e-5), until)
