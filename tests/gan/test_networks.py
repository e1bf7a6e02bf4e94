from pathlib import Path

import pytest
import torch
from torch import nn

from corpus.card import write_card
from gan.networks import FORWARD, Discriminator, Generator, load_generator, receptive_field, save_generator
from gan.parameters import FIELDS, Upsampling
from tests.gan.made import images


@pytest.mark.parametrize("side", [32, 36, 64])
def test_a_generator_keeps_size_and_range(side: int) -> None:
    out = Generator(4, 2)(images(2, side) * 50)
    assert out.shape == (2, 1, side, side) and out.dtype == torch.float32
    assert out.abs().max() <= 1


def test_generator_has_the_papers_size() -> None:
    """7×7×64, 128, 256, nine residual blocks and back: 11.4 million for RGB; here one channel in and out."""
    count = sum(p.numel() for p in Generator(64, 9).parameters())
    k = 64
    ends = (49 * k + k) + (49 * k + 1)
    down = (9 * k * 2 * k + 2 * k) + (9 * 2 * k * 4 * k + 4 * k)
    up = (9 * 4 * k * 2 * k + 2 * k) + (9 * 2 * k * k + k)
    assert count == ends + down + 9 * 2 * (9 * (4 * k) ** 2 + 4 * k) + up


@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_transposed_upsampling_draws_a_checkerboard_and_nearest_does_not(upsampling: Upsampling) -> None:
    """On a grey image whatever the weights: the spread between a 4×4 tile's pixels, far from the border."""
    torch.manual_seed(0)
    generator = Generator(8, 1, upsampling=upsampling)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.05, 0.1)
    ups = torch.nn.Sequential(*[m for m in generator.layers if not isinstance(m, nn.InstanceNorm2d)][-7:])
    tile = ups(torch.ones(1, 32, 16, 16))[0, 0, 32:36, 32:36]
    spread = float(tile.detach().std() / tile.detach().abs().mean())
    assert spread < 1e-5 if upsampling == "nearest" else spread > 1e-2


def test_three_channels_in_and_out() -> None:
    out = Generator(4, 1, channels=3)(images(2, 32, channels=3))
    assert out.shape == (2, 3, 32, 32) and out[:, 0].ne(out[:, 1]).any()
    assert Discriminator(4, 16, channels=3)(images(3, 32, channels=3)).shape == (3, 1, 14, 14)


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_discriminator_field_is_what_gradients_reach(field: int) -> None:
    """By brute force: the pixels which the middle answer has a gradient on, without the norms (they see the layer)."""
    discriminator = Discriminator(2, field)
    assert receptive_field(discriminator) == field
    for i, layer in enumerate(discriminator.layers):
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
        if isinstance(layer, nn.InstanceNorm2d):
            discriminator.layers[i] = nn.Identity()
    x = torch.ones(1, 1, 2 * field + 64, 2 * field + 64, requires_grad=True)
    answers = discriminator(x)
    answers[0, 0, answers.shape[2] // 2, answers.shape[3] // 2].backward()
    assert x.grad is not None
    touched = x.grad[0, 0].nonzero()
    assert (touched.amax(0) - touched.amin(0) + 1).tolist() == [field, field]


def test_discriminator_answers_are_a_map() -> None:
    assert Discriminator(4, 16)(images(3, 32)).shape == (3, 1, 14, 14)


def test_a_generator_is_rebuilt_from_its_artifact_alone(tmp_path: Path) -> None:
    generator = Generator(3, 2)
    save_generator(generator, tmp_path / FORWARD)
    write_card(tmp_path, "translator", generator={"filters": 3, "blocks": 2})  # older cards say no more
    again, card = load_generator(tmp_path)
    assert card["kind"] == "translator" and not again.training
    assert torch.equal(generator(images(1, 32)), again(images(1, 32)))
