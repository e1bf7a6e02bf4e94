import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor
from torch.nn import functional

from gan import figures
from tests.gan.made import images


def smooth(count: int, side: int = 64, seed: int = 0) -> Tensor:
    """Images without anything finer than 8 px, n×1×side×side in -1…1."""
    return functional.interpolate(images(count, side // 8, seed), (side, side), mode="bicubic").clamp(-1, 1)


def noisy(seed: int) -> Tensor:
    """The same with noise of sd 1.3 levels, as a scanner leaves it."""
    return smooth(8, 64, seed) + 0.01 * torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_diversity_by_hand() -> None:
    three = torch.stack([torch.full((1, 32, 32), v) for v in (0.0, 0.5, 1.0)])
    assert float(figures.diversity(three)) == pytest.approx(4 / 6)
    assert float(figures.diversity(images(1, 32).repeat(4, 1, 1, 1))) == pytest.approx(0)


def test_likeness_is_of_the_layout_and_not_of_the_contrast() -> None:
    one = smooth(1)
    scaled = torch.cat([one * 0.1, one * 0.5 + 0.3, one])
    assert float(figures.likeness(scaled)) == pytest.approx(1, abs=1e-4)
    assert abs(float(figures.likeness(smooth(40)))) < 0.05
    assert float(figures.likeness(torch.cat([one, -one]))) == pytest.approx(-1, abs=1e-4)
    assert float(figures.likeness(torch.zeros(3, 1, 32, 32))) == 0


def test_correlation_is_pearsons() -> None:
    first, second = images(2, 16, 1), images(2, 16, 2)
    pairs = zip(first.flatten(1), second.flatten(1), strict=True)
    expected = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])
    assert float(figures.correlation(first, second)) == pytest.approx(float(expected.mean()), abs=1e-5)
    assert float(figures.correlation(first, 0.2 - first * 0.5)) == pytest.approx(-1, abs=1e-5)


def test_histogram_distance_is_scipys() -> None:
    first, second = images(3, 64, 1) * 0.5, images(2, 64, 2) ** 3
    expected = wasserstein_distance(first.flatten(), second.flatten())
    assert float(figures.histogram_distance(first, second)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axes", ["x", "y", "both"])
def test_checkerboard_of_two_levels_is_found(period: int, axes: str) -> None:
    at = torch.arange(64) % period
    wave = (at < period / 2).float() * 2 - 1
    pattern = {"x": wave[None], "y": wave[:, None], "both": wave[:, None] * wave}[axes]
    assert float(figures.checkerboard(noisy(0) + pattern * 2 / 127.5, noisy(5))) > 3


def test_sharpness_noise_and_a_pattern_of_another_period_are_no_checkerboard() -> None:
    plain = noisy(5)
    board = (torch.arange(64) // 8 % 2).float()
    for other in (images(8, 64), noisy(6), smooth(8) + 0.05 * images(8, 64), noisy(7) + board * 0.2):
        assert float(figures.checkerboard(other, plain)) < 1.5
        assert float(figures.checkerboard(plain, other)) < 1.5


def test_a_pattern_fainter_than_a_level_does_not_count() -> None:
    wave = (torch.arange(64) % 2).float() * 2 - 1
    plain = smooth(8).mul(127.5).round().div(127.5)
    assert float(figures.checkerboard(plain + wave * 0.05 / 127.5, plain)) < 2


def test_degraded_is_in_8_bits_always_the_same_and_as_noisy_as_asked() -> None:
    grey = torch.zeros(4, 1, 64, 64)
    found = figures.degraded(grey, 6)
    levels = (found + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert float((found - grey).std() * 127.5) == pytest.approx(6, rel=0.05)
    assert torch.equal(found, figures.degraded(grey, 6)) and float(figures.degraded(grey + 1, 50).max()) == 1
