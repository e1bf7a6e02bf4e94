import numpy as np
import pytest

from audit.diversity import diversity, pairwise
from audit.histogram import band_shares, compare, distance, level_shares
from corpus.windows import quantise

LOW, HIGH = -150.0, 230.0


def flat(hu: float, count: int = 2, side: int = 8) -> np.ndarray:
    return quantise(np.full((count, side, side, 1), hu), LOW, HIGH)


def test_the_distance_of_two_flat_images_is_their_difference() -> None:
    assert distance(level_shares(flat(-100)), level_shares(flat(40)), LOW, HIGH) == pytest.approx(140, abs=1.5)


def test_half_the_pixels_moved_by_100_is_50() -> None:
    mixed = np.concatenate([flat(30), flat(130)])
    assert distance(level_shares(flat(30)), level_shares(mixed), LOW, HIGH) == pytest.approx(50, abs=1.5)


@pytest.mark.parametrize(
    ("hu", "band"),
    [(-1000, "air"), (-90, "fat"), (8, "fluid"), (25, "brain"), (35, "brain"), (60, "dense"), (700, "bone")],
)
def test_bands(hu: float, band: str) -> None:
    shares = band_shares(level_shares(flat(hu)), LOW, HIGH)
    assert shares[band] == 1 and sum(shares.values()) == pytest.approx(1)


def test_between_patients_is_each_against_the_others() -> None:
    ct = np.concatenate([flat(20), flat(20), flat(80)])
    found = compare(flat(50), ct, ["a", "a", "b", "b", "c", "c"], LOW, HIGH)
    assert found["distance"] == pytest.approx(30, abs=1.5)  # 2/3 by 30 down, 1/3 by 30 up
    assert found["between_patients"]["patients"] == 3
    assert found["between_patients"]["largest"] == pytest.approx(60, abs=1.5)  # c
    assert found["between_patients"]["median"] == pytest.approx(30, abs=1.5)  # a against half 20, half 80
    assert compare(flat(50), flat(20), ["a", "a"], LOW, HIGH)["between_patients"] is None


def test_what_looks_like_brain_is_judged_alone() -> None:
    """Half air, half of 30 HU, beside CT of 40 HU and bone: 10 HU apart in the band, whatever the rest is."""
    ours = np.concatenate([flat(-140, 1), flat(30, 1)])
    ct = np.concatenate([flat(40, 2), flat(200, 6)])
    found = compare(ours, ct, ["a", "b"] * 4, LOW, HIGH, band=(0, 80))
    assert found["distance"] == pytest.approx(10, abs=1.5)
    assert found["inside"] == {"translated": 0.5, "ct": 0.25}
    assert compare(flat(-140), ct, ["a", "b"] * 4, LOW, HIGH, band=(0, 80))["distance"] is None


def test_the_interval_draws_patients() -> None:
    random = np.random.default_rng(0)
    centres = np.repeat(random.normal(40, 15, 12), 4)
    ct = np.concatenate([flat(hu, 1) for hu in centres])
    owners = [f"p{i // 4}" for i in range(48)]
    found = compare(flat(80, 6), ct, owners, LOW, HIGH)
    assert found["low"] < found["distance"] < found["high"]
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * centres.std() / 12**0.5, rel=0.25)


def test_pairwise_distances_in_hu() -> None:
    images = np.concatenate([flat(0, 1, 64), flat(100, 1, 64)])[..., 0]
    assert pairwise(images, LOW, HIGH)[0, 1] == pytest.approx(100, abs=1.5)
    assert pairwise(images, LOW, HIGH)[0, 0] == 0


def test_one_picture_for_all_has_no_diversity() -> None:
    random = np.random.default_rng(0)
    ct = random.integers(0, 256, (6, 32, 32), dtype=np.uint8)
    owners = ["a", "a", "b", "b", "c", "c"]
    assert diversity(ct[[0] * 5], ct, owners, LOW, HIGH)["ratio"] == 0
    other = random.integers(0, 256, (40, 32, 32), dtype=np.uint8)
    assert diversity(other, ct, owners, LOW, HIGH)["ratio"] == pytest.approx(1, abs=0.02)


def test_ct_pairs_are_of_different_patients() -> None:
    ct = np.concatenate([flat(0, 2), flat(90, 2)])[..., 0]
    across = diversity(ct, ct, ["a", "a", "b", "b"], LOW, HIGH)
    assert across["ct"] == pytest.approx(90, abs=1.5) and across["across_patients"]
    within = diversity(ct, ct, ["a", "a", "a", "a"], LOW, HIGH)
    assert within["ct"] == pytest.approx(60, abs=1.5) and not within["across_patients"]  # 4 of 6 pairs
    assert diversity(ct, ct[:2], ["a", "b"], LOW, HIGH)["ratio"] is None


def test_the_ratios_interval_draws_photos_and_patients() -> None:
    """Beside a bootstrap written out: draw photos, draw patients, mean distance of pairs that are not of one owner."""
    random = np.random.default_rng(0)
    ours = np.concatenate([flat(hu, 1, 32) for hu in random.normal(40, 30, 25)])[..., 0]
    ct = np.concatenate([flat(hu, 1, 32) for hu in np.repeat(random.normal(40, 30, 9), 2)])[..., 0]
    owner = np.arange(18) // 2
    apart, theirs = pairwise(ours, LOW, HIGH), pairwise(ct, LOW, HIGH)

    def mean(distances: np.ndarray, whose: np.ndarray, chosen: np.ndarray) -> float:
        pairs = whose[chosen][:, None] != whose[chosen][None, :]
        return float(distances[np.ix_(chosen, chosen)][pairs].mean())

    ratios = []
    for _ in range(2000):
        photos, patients = random.integers(0, 25, 25), random.integers(0, 9, 9)
        views = np.concatenate([np.flatnonzero(owner == patient) for patient in patients])
        ratios.append(mean(apart, np.arange(25), photos) / mean(theirs, owner, views))
    found = diversity(ours, ct, [f"p{i}" for i in owner], LOW, HIGH)
    assert found["low"] < found["ratio"] < found["high"]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(ratios, [0.025, 0.975]), rel=0.12)
