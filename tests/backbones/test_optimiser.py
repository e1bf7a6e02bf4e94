import pytest
import torch
from torch import nn

from backbones.feature_cnn import build
from backbones.optimiser import make_optimiser, set_rate
from backbones.parameters import PLAIN, Training
from tests.backbones.stages import SMALL

TRAINING = Training(
    images=8, batch=4, learning_rate=0.1, warmup_share=0, weight_decay=0.05, ema_half_life=8, evaluate_every=8
)


def test_sgd_is_nesterovs() -> None:
    """Two steps by hand: buffer = 0.9 buffer + gradient; weight -= rate · (gradient + 0.9 buffer)."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    sgd = PLAIN.model_copy(update={"optimiser": "sgd"})
    plain = TRAINING.model_copy(update={"weight_decay": 0.0})
    optimiser = make_optimiser(layer, plain, sgd, ())
    buffer, expected = 0.0, 1.0
    for gradient in (2.0, -1.0):
        layer.weight.grad = torch.full((1, 1), gradient)
        set_rate(optimiser, 0.01)
        optimiser.step()
        buffer = 0.9 * buffer + gradient
        expected -= 0.01 * (gradient + 0.9 * buffer)
    assert layer.weight.item() == pytest.approx(expected) != 1


def test_layers_have_falling_rates_and_norms_no_decay() -> None:
    model = build(SMALL, 6, 1e-5)
    optimiser = make_optimiser(model, TRAINING, PLAIN.model_copy(update={"layer_decay": 0.5}), ())
    set_rate(optimiser, 0.2)
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = {names[p]: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert rates.keys() == set(names.values()) and rates["fc.weight"] == pytest.approx(0.2)
    order = ["conv1.0.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer4.0.conv1.weight", "fc.weight"]
    found = [rates[name] for name in order]
    assert found == sorted(found) and len(set(found)) == len(found)
    halvings = {round(float(torch.tensor(0.2 / rate).log2()), 6) for rate in found}
    assert all(n == int(n) for n in halvings), "whole powers of the factor"
    for group in optimiser.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.05) for p in group["params"])


def test_what_has_no_gradient_is_left_out() -> None:
    model = build(SMALL, 6, 1e-5)
    stem = model.get_parameter("conv1.0.weight").requires_grad_(False)
    for layer_decay in (1.0, 0.5):
        optimise = PLAIN.model_copy(update={"layer_decay": layer_decay})
        groups = make_optimiser(model, TRAINING, optimise, ()).param_groups
        assert not any(p is stem for group in groups for p in group["params"])
