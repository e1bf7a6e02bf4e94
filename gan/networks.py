"""The translator's networks: ResNet generator and PatchGAN discriminator of CycleGAN (arXiv 1703.10593, section 7.2).

Differences from the paper: by default the generator upsamples by nearest neighbour and a convolution (transposed
convolutions draw checkerboards: Odena et al., Distill 2016) and has one channel, and the discriminator's field is
chosen, not always 70 px.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from corpus.card import read_card
from gan.convolutions import NarrowConv2d, RowsConv2d, UpsampledConv2d
from gan.parameters import FIELDS, Upsampling

FORWARD, BACK = "generator.safetensors", "generator-back.safetensors"


class Generator(nn.Module):
    """Image → image of the same size, both n×`channels`×H×W in -1…1; H and W multiples of 4.

    c7s1-k, d2k, d4k, `blocks` × R4k, u2k, uk, c7s1-`channels` in the paper's notation, k = `filters`. `upsampling` of
    u2k and uk: "nearest" (then a 3×3 convolution) or "transposed" (the paper's 3×3 convolutions of stride ½).
    """

    def __init__(self, filters: int, blocks: int, channels: int = 1, upsampling: Upsampling = "nearest") -> None:
        super().__init__()
        k = filters
        self.channels = channels
        layers: list[nn.Module] = [RowsConv2d(channels, k, 7), nn.InstanceNorm2d(k), nn.ReLU(True)]
        layers += [*_convolution(k, 2 * k, 3, stride=2), *_convolution(2 * k, 4 * k, 3, stride=2)]
        layers += [_Residual(4 * k) for _ in range(blocks)]
        layers += [*_upsampled(4 * k, 2 * k, upsampling), *_upsampled(2 * k, k, upsampling)]
        layers += [RowsConv2d(k, channels, 7)]
        self.layers = nn.Sequential(*layers)
        self.apply(_start)

    def forward(self, images: Tensor) -> Tensor:
        # tanh in fp32 also under autocast: bf16 near ±1 is coarser than an 8-bit level
        return torch.tanh(self.layers(images).float())


class Discriminator(nn.Module):
    """Image (n×`channels`×H×W in -1…1) → a map of answers (n×1×h×w), 1 for real and 0 for translated.

    One answer's convolutions see `field`×`field` pixels; instance norm shows it the layer's mean and spread besides.
    For CT in one channel it reads HU: the three windows are functions of it, so they would add no information.
    """

    def __init__(self, filters: int, field: int, channels: int = 1) -> None:
        super().__init__()
        kernel, halvings = FIELDS[field]
        layers: list[nn.Module] = [nn.Conv2d(channels, filters, kernel, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        width = filters
        for stride in [2] * (halvings - 1) + [1]:
            wider = min(2 * width, 8 * filters)
            layers += [
                nn.Conv2d(width, wider, kernel, stride=stride, padding=1),
                nn.InstanceNorm2d(wider),
                nn.LeakyReLU(0.2, True),
            ]
            width = wider
        layers += [NarrowConv2d(width, 1, kernel, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.apply(_start)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).float()


def receptive_field(network: nn.Module) -> int:
    """Side in pixels of what one output of a chain of convolutions sees, from their kernels and strides."""
    field = 1
    for layer in reversed([m for m in network.modules() if isinstance(m, nn.Conv2d)]):
        field = (field - 1) * layer.stride[0] + layer.kernel_size[0]
    return field


def save_generator(generator: Generator, path: Path) -> None:
    """Weights as safetensors, on the CPU."""
    save_file({name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}, path)


def load_generator(folder: Path, name: str = FORWARD) -> tuple[Generator, dict[str, Any]]:
    """A generator rebuilt from a translator's artifact (photo → CT; `BACK`: CT → photo), in eval mode, and the card."""
    card = read_card(folder, "translator")
    generator = Generator(**card["generator"])
    generator.load_state_dict(load_file(folder / name))
    return generator.eval(), card


class _Residual(nn.Module):
    """R: two 3×3 convolutions, the second without activation, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(channels, channels, 3), *_convolution(channels, channels, 3)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _convolution(channels: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, padding_mode="reflect"),
        nn.InstanceNorm2d(out),
        nn.ReLU(True),
    ]


def _upsampled(channels: int, out: int, upsampling: Upsampling) -> list[nn.Module]:
    """Twice the side. The empty first place keeps the layers' numbers, and so the names of stored weights."""
    doubling = (
        UpsampledConv2d(channels, out)
        if upsampling == "nearest"
        else nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)
    )
    return [nn.Identity(), doubling, nn.InstanceNorm2d(out), nn.ReLU(True)]


def _start(module: nn.Module) -> None:
    """Weights drawn from N(0, 0.02) (section 7.2), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
