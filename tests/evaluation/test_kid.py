import subprocess
import sys

import numpy as np
import pytest

from evaluation.kid import kid, kid_floor, kid_interval
from settings.errors import BadInput

RANDOM = np.random.default_rng()  # seeded before each test


@pytest.fixture(autouse=True)
def seeded() -> None:
    RANDOM.bit_generator.state = np.random.default_rng(0).bit_generator.state


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Bińkowski et al., equation 4: means over pairs of unlike rows, minus twice that over all pairs of both."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return xx + yy - 2 * xy


def patients(count: int, views: int, spread: float, dimensions: int = 6) -> tuple[np.ndarray, list[str]]:
    """CT features: a centre of each patient's own, and views a little apart from it."""
    centres = RANDOM.normal(0, spread, (count, 1, dimensions))
    rows = centres + RANDOM.normal(0, 1, (count, views, dimensions))
    return rows.reshape(-1, dimensions).astype(np.float32), [f"p{i // views:02d}" for i in range(count * views)]


def test_kid_is_the_papers_formula() -> None:
    x, y = RANDOM.normal(0, 1, (7, 5)).astype(np.float32), RANDOM.normal(0.5, 1, (7, 5)).astype(np.float32)
    assert kid(x, y) == pytest.approx(by_hand(x, y), rel=1e-9)
    assert kid(x, y) == pytest.approx(kid(y, x))


def test_it_is_unbiased() -> None:
    found = [kid(RANDOM.normal(size=(8, 4)), RANDOM.normal(size=(8, 4))) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20 and min(found) < 0


def test_the_longer_side_is_thinned_evenly() -> None:
    x, y = RANDOM.normal(size=(9, 3)), RANDOM.normal(size=(3, 3))
    assert kid(x, y) == pytest.approx(by_hand(x[[0, 3, 6]], y), rel=1e-9)


def test_one_image_and_other_widths_are_refused() -> None:
    for other in (np.zeros((1, 3)), np.zeros((4, 2))):
        with pytest.raises(BadInput, match="two images or more"):
            kid(np.zeros((4, 3)), other)


def test_the_interval_holds_the_distance_and_draws_patients() -> None:
    images = RANDOM.normal(0, 1, (60, 6))
    ct, owners = patients(12, 5, spread=1)
    found = kid_interval(images, ct, owners, 0.95, seed=0)
    assert found.kid == kid(images, ct) and found.low < found.kid < found.high
    assert (found.n, found.patients) == (60, 12)
    as_if_independent = kid_interval(images, ct, [str(i) for i in range(60)], 0.95, seed=0)
    assert found.high - found.low > 1.3 * (as_if_independent.high - as_if_independent.low)
    assert found == kid_interval(images, ct, owners, 0.95, seed=0)
    assert found != kid_interval(images, ct, owners, 0.95, seed=1)


def test_drawing_patients_does_not_shift_the_distance() -> None:
    """A bootstrap that pairs a view with its own copy has its middle far above the distance."""
    images = RANDOM.normal(0, 1.5, (80, 6))
    ct, owners = patients(8, 10, spread=1)
    found = kid_interval(images, ct, owners, 0.02, seed=0)  # nearly the median
    wide = kid_interval(images, ct, owners, 0.95, seed=0)
    assert abs((found.low + found.high) / 2 - found.kid) < 0.15 * (wide.high - wide.low)


def test_it_covers() -> None:
    """Views of 30 patients against images of a shifted distribution; the truth from 2,000 patients."""
    truth = kid(RANDOM.normal(0.8, 1, (2000, 6)), patients(2000, 1, spread=0.5)[0])
    inside = 0
    for seed in range(40):
        ct, owners = patients(30, 2, spread=0.5)
        found = kid_interval(RANDOM.normal(0.8, 1, (60, 6)), ct, owners, 0.95, seed)
        inside += found.low < truth < found.high
    assert inside >= 34


def test_one_patient_has_an_interval_over_images() -> None:
    found = kid_interval(RANDOM.normal(size=(6, 3)), RANDOM.normal(1, 1, (6, 3)), ["a"] * 6, 0.95, 0)
    assert found.patients == 1 and np.isfinite([found.low, found.high]).all() and found.low < found.high


def test_the_floor_is_between_patients() -> None:
    ct, owners = patients(10, 8, spread=2)
    floor = kid_floor(ct, owners, 0.95, seed=0)
    assert floor is not None and floor.low < floor.kid < floor.high and (floor.n, floor.patients) == (40, 10)
    shuffled = RANDOM.permutation(len(ct))
    random_halves = abs(kid(ct[shuffled[:40]], ct[shuffled[40:]]))
    assert floor.kid > 5 * random_halves


def test_the_floor_of_two_patients_is_their_distance() -> None:
    ct, owners = patients(2, 6, spread=1)
    floor = kid_floor(ct, owners, 0.95, seed=3)
    assert floor is not None and floor.kid == pytest.approx(kid(ct[:6], ct[6:]))
    assert kid_floor(ct, ["a"] * 12, 0.95, 0) is None


def test_the_module_needs_no_torch() -> None:
    code = "import evaluation.kid, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
