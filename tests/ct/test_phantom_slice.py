import math

import numpy as np
import pytest

from ct.phantom_head import Head, draw_head
from ct.phantom_slice import AIR_NOISE, SIDE, Painted, Pose, add_noise, averaged, paint, visible


@pytest.fixture(scope="module")
def head() -> Head:
    return draw_head(np.random.default_rng(5), mimic_share=0, noise=3.1, cupping=0)


def pose(height: float) -> Pose:
    return Pose(0.47, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), 100.0, height, 5.0, (118.0, 4.0, 150.0, -10.0))


def test_tissues_have_their_hounsfield_units(head: Head) -> None:
    hu = paint(head, [], pose(30), 0).hu
    brain = hu[(hu > 0) & (hu < 60)]
    assert head.white - 4 < np.median(brain) < head.white + head.grey
    assert hu.max() < 1900
    assert hu[5, 5] == -1000
    fat = hu[(hu > -130) & (hu < -70)]
    assert len(fat) > 500  # the scalp


def test_bone_is_as_dense_as_measured() -> None:
    """Median over heads of the median (real vaults: 690 to 1,340) and of the 95th percentile (1,030 to 1,740)."""
    heads = [draw_head(np.random.default_rng(seed), 1, 3.1, 14) for seed in range(9)]
    bone = [hu[hu > 300] for hu in (paint(h, [], pose(25), 0).hu for h in heads)]
    assert 690 < np.median([np.median(b) for b in bone]) < 1340
    assert 1030 < np.median([np.percentile(b, 95) for b in bone]) < 1740


def test_ventricles_hold_csf(head: Head) -> None:
    from ct.phantom_head import Points, ventricles

    where = pose(10)
    p = Points(*(v[1, :-1, :-1] for v in where.points(0)))
    inside = ventricles(head, p) > 2.5
    hu = paint(head, [], where, 0).hu[::4, ::4]
    assert inside.sum() > 10
    assert np.median(hu[inside]) == pytest.approx(head.csf, abs=3)


def test_the_vault_closes_at_the_top(head: Head) -> None:
    sizes = [np.count_nonzero(paint(head, [], pose(height), 0).hu > -500) for height in (20, 60, 80, 130)]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3]
    assert sizes[3] < 12_000  # the head rest alone


def test_pixels_lie_where_the_header_says() -> None:
    tilted = Pose(0.5, math.radians(20), (0.0, 0.0, 0.0), (3.0, -4.0), 100.0, 12.0, 5.0, (118.0, 4.0, 150.0, -10.0))
    row, column = np.array(tilted.orientation()).reshape(2, 3)
    assert np.allclose([row @ row, column @ column, row @ column], [1, 1, 0])
    for number in (0, 3):
        centre = np.array(tilted.origin(number)) + 0.5 * 256 * (row + column)
        # The middle of the picture lies over the origin of the head (scanner 0, 0, table), shifted as asked.
        assert np.allclose(centre, [-3, 4, 100 + 12 + 5 * number])


@pytest.mark.parametrize(("kernel", "across"), [(0, 0.74), (2, 0.67), (4, 0.58)])
def test_noise_has_its_deviation_and_correlation(kernel: int, across: float) -> None:
    """As on real slices: more correlated down than across, negative at lag 3, and louder in air."""
    rng = np.random.default_rng(0)
    noise = add_noise(np.zeros((SIDE, SIDE), np.float32), 3.1, rng, kernel)
    assert noise.std() == pytest.approx(3.1, rel=0.05)
    right = [np.mean(noise[:, :-lag] * noise[:, lag:]) / noise.var() for lag in (1, 2, 3)]
    below = [np.mean(noise[:-lag] * noise[lag:]) / noise.var() for lag in (1, 2, 3)]
    assert right[0] == pytest.approx(across, abs=0.03) and below[0] > right[0] + 0.04
    assert -0.15 < right[2] < -0.02
    air = add_noise(np.full((SIDE, SIDE), -1000, np.float32), 3.1, rng, kernel)
    assert air.std() == pytest.approx(AIR_NOISE * 3.1, rel=0.05)


def test_averages_are_over_areas() -> None:
    ramp = np.tile(np.arange(SIDE, dtype=np.float32), (SIDE, 1))
    assert averaged(ramp, 128) == pytest.approx(ramp.reshape(128, 4, 128, 4).mean(axis=(1, 3)))
    assert averaged(ramp, 96).mean() == pytest.approx(ramp.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("side", "added", "seen"),
    [
        (16, 30, True),
        (16, 4.5, False),  # 4.5 HU are below 1.5 × 3.1
        (3, 60, False),  # 9 pixels are fewer than 12
        (6, 60, False),  # 36 pixels, but too few at the model's size
    ],
)
def test_blood_counts_where_it_can_be_seen(side: int, added: float, seen: bool) -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[256 : 256 + side, 256 : 256 + side] = True
    painted = Painted(np.zeros((SIDE, SIDE), np.float32), {"subdural": mask * np.float32(added)}, {"subdural": mask})
    assert visible(painted, "subdural", 64, 3.1) is seen
    assert not visible(painted, "epidural", 64, 3.1)
