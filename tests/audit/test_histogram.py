from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.diversity import diversity, pairwise
from audit.histogram import band_shares, compare, distance, level_shares, plot
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


def test_the_picture_is_written_alike_twice(tmp_path: Path) -> None:
    ct = np.concatenate([flat(20), flat(80)])
    for name in ("a.png", "b.png"):
        plot(tmp_path / name, flat(50), ct, ["a", "a", "b", "b"], LOW, HIGH)
    assert Image.open(tmp_path / "a.png").size[0] > 500
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


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
