import timm
import torch
from torch import nn

from backbones.cost import cost


def test_a_convolution_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    found = cost(network, torch.zeros(1, 3, 5, 5, device="meta"))
    assert found == {"parameters": 3 * 8 * 9 + 8 + 8 * 4 + 4, "flops": 2 * 25 * (3 * 8 * 9 + 8 * 4)}
    assert next(network.parameters()).device.type == "cpu"


def test_xception_costs_what_is_published() -> None:
    """timm's table for legacy_xception at 299²: 22.86 million parameters, 8.40 G multiply-adds."""
    network = timm.create_model("legacy_xception")
    found = cost(network, torch.zeros(1, 3, 299, 299, device="meta"))
    assert round(found["parameters"] / 1e6, 2) == 22.86
    assert abs(found["flops"] / 2 / 8.40e9 - 1) < 0.01
