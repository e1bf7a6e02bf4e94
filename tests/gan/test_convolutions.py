"""Against the textbook's layers, in value and in every gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.convolutions import NarrowConv2d, RowsConv2d, UpsampledConv2d
from gan.networks import Generator
from tests.gan.made import images


def both(layer: nn.Conv2d, textbook: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Values and gradients of input, weight and bias agree to fp32 rounding."""
    found = []
    for compute in (layer, textbook):
        mine = x.clone().requires_grad_()
        layer.zero_grad()
        out = compute(mine)
        (out * torch.linspace(-1, 2, out.numel()).reshape(out.shape)).sum().backward()
        assert mine.grad is not None and layer.weight.grad is not None and layer.bias is not None
        assert layer.bias.grad is not None
        found.append([out.detach(), mine.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)])
def test_upsampled_convolution_is_nearest_upsampling_reflection_and_a_convolution(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv2d(3, 5)

    def textbook(x: Tensor) -> Tensor:
        padded = functional.pad(functional.interpolate(x, scale_factor=2, mode="nearest"), (1,) * 4, mode="reflect")
        return functional.conv2d(padded, layer.weight, layer.bias)

    both(layer, textbook, torch.randn(2, 3, *size))


@pytest.mark.parametrize(("channels", "out"), [(6, 1), (6, 3), (1, 6), (3, 6)])
def test_convolution_by_rows_is_a_reflected_convolution(channels: int, out: int) -> None:
    torch.manual_seed(0)
    layer = RowsConv2d(channels, out, 7)

    def textbook(x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, (3,) * 4, mode="reflect"), layer.weight, layer.bias)

    both(layer, textbook, torch.randn(2, channels, 9, 12))


@pytest.mark.parametrize(("kernel", "padding", "out"), [(7, 3, 3), (4, 1, 1), (3, 1, 1)])
def test_narrow_convolution_is_a_convolution(kernel: int, padding: int, out: int) -> None:
    torch.manual_seed(0)
    layer = NarrowConv2d(6, out, kernel, padding)

    def textbook(x: Tensor) -> Tensor:
        return functional.conv2d(x, layer.weight, layer.bias, padding=padding)

    both(layer, textbook, torch.randn(2, 6, 9, 12))


def test_a_generator_of_textbook_layers_takes_the_same_weights_and_gives_the_same_image() -> None:
    generator = Generator(4, 2)
    textbook = nn.Sequential(*generator.layers)
    for place, layer in enumerate(generator.layers):
        if isinstance(layer, UpsampledConv2d):
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, padding_mode="reflect")
            textbook[place] = nn.Sequential(nn.Upsample(scale_factor=2), plain)
        elif isinstance(layer, RowsConv2d):
            plain = nn.Conv2d(layer.in_channels, layer.out_channels, 7, padding=3, padding_mode="reflect")
            textbook[place] = plain
        else:
            continue
        plain.load_state_dict(layer.state_dict())
    x = images(2, 32)
    assert torch.allclose(torch.tanh(textbook(x)), generator(x), atol=1e-5)
