import pytest
import torch

from gan.losses import adversarial, discrimination, distance, return_trip
from tests.gan.made import images


def test_least_squares_objectives_by_hand() -> None:
    real, fake = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.4])
    assert float(adversarial(fake)) == pytest.approx((1 + 0.36) / 2)
    assert float(discrimination(real, fake)) == pytest.approx(0.5 * (0.25 / 2 + 0.16 / 2))
    assert float(distance(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5]))) == pytest.approx(1.0)


def test_rounding_gives_8_bit_levels_and_passes_gradients() -> None:
    x = (images(1, 8) * 1.2).requires_grad_()
    out = return_trip(x, 0.0, True)
    out.sum().backward()  # type: ignore[no-untyped-call]
    levels = (out + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4) and out.abs().max() <= 1
    assert torch.allclose(out, x.clamp(-1, 1), atol=1 / 255 + 1e-6)
    assert x.grad is not None and torch.equal(x.grad, torch.ones_like(x))


def test_noise_has_its_spread_in_levels() -> None:
    torch.manual_seed(0)
    noise = return_trip(torch.zeros(1, 1, 200, 200), 3.0, False) * 127.5
    assert float(noise.std()) == pytest.approx(3.0, rel=0.02)
    x = images(1, 8)
    assert return_trip(x, 0.0, False) is x
