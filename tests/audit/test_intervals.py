import numpy as np
import pytest

from audit.intervals import apart, difference, share, share_over_seeds, verdict

RANDOM = np.random.default_rng(0)


def test_wilson_by_hand() -> None:
    z = 1.959964
    low, high = (
        (0.8 + z * z / 200 + sign * z * (0.16 / 100 + z * z / 40000) ** 0.5) / (1 + z * z / 100) for sign in (-1, 1)
    )
    found = share(np.arange(100) < 80, 0.95)
    assert found["share"] == 0.8 and found["n"] == 100
    assert found["low"] == pytest.approx(low, abs=1e-6) and found["high"] == pytest.approx(high, abs=1e-6)
    assert share(np.ones(5, bool), 0.95)["low"] < 1


def test_one_seed_has_agresti_and_coulls_interval() -> None:
    """80 of 100, z² = 3.84 added to the trials and half of it to the hits; t with 99 degrees of freedom."""
    found = share_over_seeds((np.arange(100) < 80)[None], 0.95)
    middle = (80 + 3.8415 / 2) / (100 + 3.8415)
    half = 1.98422 * (middle * (1 - middle) / 103.8415) ** 0.5
    assert found["share"] == 0.8 and found["seed_sd"] == 0
    assert (found["low"], found["high"]) == pytest.approx((middle - half, middle + half), abs=1e-4)
    sure = share_over_seeds(np.ones((3, 20), bool), 0.95)
    assert sure["share"] == 1 and sure["high"] == 1 and 0.7 < sure["low"] < 0.9


def test_seeds_that_differ_widen_the_interval() -> None:
    alike = np.stack([np.arange(1000) % 2 == 0] * 3)
    spread = np.stack([np.arange(1000) % 10 < level for level in (3, 5, 7)])
    narrow, wide = (share_over_seeds(hits, 0.95) for hits in (alike, spread))
    assert narrow["share"] == wide["share"] == 0.5
    assert wide["seed_sd"] == pytest.approx(0.2)
    assert wide["high"] - wide["low"] > 5 * (narrow["high"] - narrow["low"])


def test_pairs_of_the_same_images_tell_more() -> None:
    """Two probes that fail on the same photos but ten: paired the difference is certain, apart it is not."""
    first = np.stack([np.arange(200) < 150] * 3)
    second = np.stack([np.arange(200) < 140] * 3)
    low, high = difference(first, second, 0.95)
    assert 0 < low < 0.05 < high
    one, other = (share_over_seeds(hits, 0.95) for hits in (first, second))
    assert apart(one["low"], one["high"], other["low"], other["high"])[0] < 0


def test_seeds_of_other_signs_are_no_difference() -> None:
    first = np.zeros((3, 4000), bool)
    second = np.zeros((3, 4000), bool)
    first[:2, :400], second[2, :4] = True, True
    low, high = difference(first, second, 0.5)
    assert low <= 0 < high


def test_the_paired_interval_covers() -> None:
    inside = 0
    for _ in range(300):
        skill = RANDOM.random(80)
        first = RANDOM.random((3, 80)) < np.clip(skill + 0.1, 0, 1)
        second = RANDOM.random((3, 80)) < skill
        low, high = difference(first, second, 0.95)
        inside += low < 0.095 < high  # mean of min(1, u + 0.1) - u
    assert inside >= 0.91 * 300


@pytest.mark.parametrize(
    ("floor", "ceiling", "words"),
    [
        ((0.1, 0.2), (-0.3, -0.1), "better than its floor, worse than its ceiling"),
        ((-0.1, 0.2), None, "not distinguishable from its floor at this sample size"),
        ((-0.2, -0.1), (0.1, 0.2), "worse than its floor, better than its ceiling"),
        (None, None, "no anchor to hold it against"),
    ],
)
def test_verdicts(floor: tuple[float, float] | None, ceiling: tuple[float, float] | None, words: str) -> None:
    assert verdict(floor, ceiling) == words
