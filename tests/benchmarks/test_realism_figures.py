"""Figures on pictures whose answers are known by construction."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from benchmarks import realism_figures as figures
from evaluation.floors import inside_skull

SPACING = 0.5  # mm
SIDE = 400
Array = npt.NDArray[np.float32]
Y, X = (np.indices((SIDE, SIDE)) - SIDE / 2 + 0.5) * SPACING
R = np.hypot(Y, X)


def disc(brain: Any = 30.0, skull: float = 8.0, scalp: float = 6.0) -> Array:
    """A round head: brain to 70 mm, bone of 1000 HU, fat, air."""
    hu = np.full((SIDE, SIDE), -1000.0)
    hu[70 + skull + scalp > R] = -80
    hu[70 + skull > R] = 1000
    return np.where(R < 70, brain, hu).astype(np.float32)


def sets(hu: Array) -> tuple[Any, Any, Any]:
    """Head, brain and the distance inward from the inner table."""
    inside = inside_skull(hu.astype(np.float64), figures.BONE, 0)
    return figures.head_mask(hu), figures.brain_mask(hu, SPACING), ndimage.distance_transform_edt(inside) * SPACING


def test_areas_and_sizes() -> None:
    found = figures.slice_figures(disc(), SPACING)
    assert found["brain_area"] == pytest.approx(np.pi * 6.8**2, rel=0.03)
    assert found["brain_share"] == pytest.approx(68**2 / 84**2, rel=0.03)
    assert found["head_length"] == pytest.approx(168, abs=1) and found["head_width"] == pytest.approx(168, abs=1)
    assert found["brain_median"] == 30 and found["hyperdense"] == 0


@pytest.mark.parametrize("thickness", [4.0, 8.0, 11.0])
def test_skull_thickness_and_scalp(thickness: float) -> None:
    hu = disc(skull=thickness)
    head, _, depth = sets(hu)
    found = figures.skull(hu, head, depth > 0, SPACING)
    assert found["skull_thickness"] == pytest.approx(thickness, abs=0.6)
    assert found["skull_p10"] == pytest.approx(found["skull_p90"], abs=0.6)
    assert found["bone_median"] == 1000
    assert figures.edges(hu, head, depth > 0, SPACING)["scalp"] == pytest.approx(6, abs=0.4)


@pytest.mark.parametrize("sigma", [0.6, 0.9])
def test_edges_have_the_width_of_the_blur(sigma: float) -> None:
    """10–90 % of a Gaussian edge are 2.563 sigma; linear interpolation between pixels adds a little."""
    hu = ndimage.gaussian_filter(disc(), sigma / SPACING)
    head, _, depth = sets(hu)
    found = figures.edges(hu, head, depth > 0, SPACING)
    assert found["skin_edge"] == pytest.approx(2.563 * sigma, rel=0.15)
    assert found["table_edge"] == pytest.approx(2.563 * sigma, rel=0.15)


def test_two_tissues_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(26, 2, 30_000), rng.normal(35, 2, 10_000)])
    low, high, spread, share = figures.two_gaussians(values)
    assert (low, high, spread) == pytest.approx((26, 35, 2), abs=0.1)
    assert share == pytest.approx(0.25, abs=0.02)
    assert np.isnan(figures.two_gaussians(values[:100])).all()


def test_densities() -> None:
    """A pool of fluid and one of blood in grey and white halves, and a rim that bone has brightened by 10 HU."""
    brain = np.where(X < 0, 26.0, 36.0) + np.where(R > 58, 10, 0)
    brain[np.hypot(X, Y - 20) < 12] = 8
    brain[np.hypot(X + 25, Y + 10) < 10] = 60
    hu = disc(brain)
    _, mask, depth = sets(hu)
    smooth = ndimage.gaussian_filter(ndimage.median_filter(hu, 3), 1.0)
    found = figures.tissue(hu, smooth, mask, depth)
    assert found["csf"] == pytest.approx(8, abs=0.5)
    assert found["hyperdense"] == pytest.approx(1000 * np.pi * 10**2 / SPACING**2 / SIDE**2, rel=0.03)
    assert found["cupping"] == pytest.approx(10, abs=5.1)  # between the halves' medians
    flat = figures.tissue(disc(), disc(), mask, depth)
    assert flat["cupping"] == 0 and np.isnan(flat["csf"])


@pytest.mark.parametrize("sigma", [(0.75, 0.75), (1.0, 0.7)])
def test_noise_of_known_correlation(sigma: tuple[float, float]) -> None:
    """White noise blurred by sigma pixels has the correlation exp(-d²/4 sigma²); some is lost, as `noise` says."""
    white = np.random.default_rng(1).standard_normal((SIDE, SIDE))
    field = ndimage.gaussian_filter(white, sigma)
    found = figures.noise(30 + 3 * field / field.std(), np.ones((SIDE, SIDE), np.bool_))
    expected = np.array([np.exp(-(lag**2) / (4 * s**2)) for lag in (1, 2) for s in reversed(sigma)]) - 0.07
    assert [found[n] for n in ("lag1_x", "lag1_y", "lag2_x", "lag2_y")] == pytest.approx(expected, abs=0.05)
    assert 2.5 < found["noise_sd"] < 3  # the quietest quarter of the patches
    assert found["noise_kurtosis"] == pytest.approx(3, abs=0.1)
    assert found["noise_middle"] == pytest.approx(1, abs=0.05)


def test_noise_needs_brain() -> None:
    assert all(np.isnan(v) for v in figures.noise(disc(), np.zeros((SIDE, SIDE), np.bool_)).values())


def test_spectrum_of_white_noise_is_flat_and_keeps_its_power() -> None:
    """White noise of variance v in pixels of area a has v · a at every frequency (Parseval)."""
    hu = np.random.default_rng(2).normal(30, 4, (SIDE, SIDE)).astype(np.float32)
    power = figures.spectrum(hu, np.ones((SIDE, SIDE), np.bool_), SPACING)[4:48]
    assert power == pytest.approx(16 * SPACING**2, rel=0.35)
    assert power.mean() == pytest.approx(16 * SPACING**2, rel=0.05)


def test_spectrum_of_waves_peaks_at_their_frequency() -> None:
    hu = (30 + 5 * np.sin(2 * np.pi * 0.3 * X)).astype(np.float32)
    power = figures.spectrum(hu, np.ones((SIDE, SIDE), np.bool_), SPACING)
    assert abs(figures.SPECTRUM[power.argmax()] - 0.3) < 0.03
    bands = figures.textures(hu, np.ones((SIDE, SIDE), np.bool_), SPACING)
    assert max((n for n in bands if n.startswith("power")), key=lambda n: bands[n]) == "power_0.2"


def test_halves_that_mirror_each_other() -> None:
    rng = np.random.default_rng(3)
    field = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 12)
    field = 30 + 5 * field / field.std()
    alike = ndimage.rotate(np.concatenate([field[:, 200:][:, ::-1], field[:, 200:]], axis=1), 8, reshape=False, cval=30)
    found = []
    for brain in (alike, field):
        hu = disc(brain)
        head, mask, _ = sets(hu)
        found.append(figures.shape(hu, mask, head, SPACING)["mirror"])
    assert found[0] > 0.9 > 0.75 > found[1]


def test_sulci_are_counted() -> None:
    brain = np.full((SIDE, SIDE), 30.0)
    for angle in np.radians(np.arange(0, 360, 40)):  # nine lines, 2 mm wide, from the inner table 16 mm inward
        along, across = X * np.cos(angle) + Y * np.sin(angle), Y * np.cos(angle) - X * np.sin(angle)
        brain[(along > 52) & (np.abs(across) < 1)] = 15
    hu = disc(brain)
    _, mask, depth = sets(hu)
    found = figures.ridges(hu, mask, depth, SPACING)
    assert found["sulci"] == 9
    assert found["sulci_depth"] == pytest.approx(15, abs=1)
    assert figures.ridges(disc(), mask, depth, SPACING)["sulci"] == 0


def test_what_lies_outside_the_head() -> None:
    hu = disc()
    hu += np.random.default_rng(4).normal(0, 12, hu.shape).astype(np.float32) * (R > 84)
    hu[(np.abs(X) < 20) & (np.abs(Y - 92) < 1)] = 200
    found = figures.outside(hu, figures.head_mask(hu), SPACING)
    assert found["air"] == pytest.approx(-1000, abs=0.5) and found["air_sd"] == pytest.approx(12, rel=0.05)
    assert found["things_outside"] == pytest.approx(40 * 2 / 100, rel=0.1)
    assert found["fat_share"] == 1 and found["fat"] == pytest.approx(-80)


def test_a_slice_without_closed_skull_has_no_brain() -> None:
    hu = disc()
    hu[:200, 180:220] = 30
    found = figures.slice_figures(hu, SPACING)
    assert found["brain_area"] == 0 and "white" not in found


def test_auc_is_sklearns() -> None:
    rng = np.random.default_rng(5)
    truth, score = rng.random(200) < 0.3, rng.integers(0, 12, 200).astype(float)  # ties
    assert figures.auc(score[truth], score[~truth]) == pytest.approx(roc_auc_score(truth, score))
    assert np.isnan(figures.auc(score, score[:0]))
