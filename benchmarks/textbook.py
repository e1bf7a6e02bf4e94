"""CycleGAN's step as the best-known public code runs it (github.com/junyanz/pytorch-CycleGAN-and-pix2pix).

Written from the paper (arXiv 1703.10593) and that code's order of calls; the weights are those of `gan/networks.py`.
"""

import itertools

import torch
from torch import Tensor, nn

from gan.convolutions import NarrowConv2d, RowsConv2d, UpsampledConv2d
from gan.networks import Discriminator, Generator
from gan.parameters import GanTrain
from gan.pool import ImagePool


class Textbook:
    """Four networks of textbook layers, two Adams, two pools, and `step`. fp32; no averaged weights."""

    def __init__(self, parameters: GanTrain, device: torch.device) -> None:
        p = self.parameters = parameters
        torch.manual_seed(0)
        shape = (p.ngf, p.blocks, p.channels, p.upsampling)
        generators = [Generator(*shape) for _ in range(2)]
        discriminators = [Discriminator(p.ndf, p.field, p.channels) for _ in range(2)]
        self.to_ct, self.to_photo = (plain(network).to(device) for network in generators)
        self.ct, self.photo = (plain(network).to(device) for network in discriminators)
        rate = {"lr": p.learning_rate, "betas": (p.beta1, 0.999)}
        weights = itertools.chain(self.to_ct.parameters(), self.to_photo.parameters())
        self.generators = torch.optim.Adam(weights, **rate)  # type: ignore[arg-type]
        weights = itertools.chain(self.ct.parameters(), self.photo.parameters())
        self.discriminators = torch.optim.Adam(weights, **rate)  # type: ignore[arg-type]
        self.pools = ImagePool(p.pool, device), ImagePool(p.pool, device)
        self.steps = 0

    def step(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """One step on photos x and CT views y; losses as numbers, as that code keeps them for its display."""
        p = self.parameters
        fake_y = self.to_ct(x)
        cycled_x = self.to_photo(fake_y)
        fake_x = self.to_photo(y)
        cycled_y = self.to_ct(fake_x)
        for network in (self.ct, self.photo):
            network.requires_grad_(False)
        self.generators.zero_grad()
        identity = (self.to_ct(y) - y).abs().mean() + (self.to_photo(x) - x).abs().mean()
        fooling = (self.ct(fake_y) - 1).square().mean() + (self.photo(fake_x) - 1).square().mean()
        cycle = (cycled_x - x).abs().mean() + (cycled_y - y).abs().mean()
        loss = p.adversarial * fooling + p.cycle * cycle + p.identity * identity
        loss.backward()
        self.generators.step()
        for network in (self.ct, self.photo):
            network.requires_grad_(True)
        self.discriminators.zero_grad()
        self.steps += 1
        halves = []
        for network, real, fake, pool in zip((self.ct, self.photo), (y, x), (fake_y, fake_x), self.pools, strict=True):
            seen = pool.exchange(fake.detach(), self.steps)
            half = 0.5 * ((network(real) - 1).square().mean() + network(seen).square().mean())
            half.backward()
            halves.append(half)
        self.discriminators.step()
        return {"generators": loss.item(), "ct": halves[0].item(), "photo": halves[1].item()}


def plain(network: nn.Module) -> nn.Module:
    """The network with textbook layers in place of ours, and the same weights."""
    for name, layer in network.named_children():
        if isinstance(layer, UpsampledConv2d):
            convolution = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, padding_mode="reflect")
            convolution.load_state_dict(layer.state_dict())
            setattr(network, name, nn.Sequential(nn.Upsample(scale_factor=2), convolution))
        elif isinstance(layer, NarrowConv2d | RowsConv2d):
            convolution = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                padding=layer.padding,  # type: ignore[arg-type]
                padding_mode=layer.padding_mode,
            )
            convolution.load_state_dict(layer.state_dict())
            setattr(network, name, convolution)
        else:
            plain(layer)
    return network


def operations(parameters: GanTrain) -> float:
    """Floating-point operations of the textbook step's convolutions.

    A backward pass costs a forward pass for the input's gradient and one for the weights'. A generator runs on three
    kinds of images (its own, the other's translations, its target's own), each forward and backward; a discriminator
    once forward and backward to the input alone, and twice forward and backward on its own step.
    """
    p = parameters
    image = torch.zeros(1, p.channels, p.side, p.side)
    generator = _forward(plain(Generator(p.ngf, p.blocks, p.channels, p.upsampling)), image)
    discriminator = _forward(plain(Discriminator(p.ndf, p.field, p.channels)), image)
    return 2 * p.batch * (3 * 3 * generator + (2 + 2 * 3) * discriminator)


def _forward(network: nn.Module, image: Tensor) -> float:
    """Operations of one forward pass on one image, convolutions alone."""
    counted: list[float] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        at = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output  # each place has one product per weight
        counted.append(2.0 * layer.weight.numel() * at.shape[2] * at.shape[3])

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(image)
    return sum(counted)
