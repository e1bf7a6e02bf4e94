import numpy as np
import pytest
from scipy.stats import norm, t

from evaluation.intervals import Sampled, combine, difference, estimate, sample, verdict
from evaluation.resampling import auc_of, draw_patients, mean_of, owners

SEEDS, PATIENTS = 3, 40


def test_both_parts_by_hand() -> None:
    draws = np.array([0.1, 0.3, 0.5])  # variance 0.04
    found = combine(np.array([0.2, 0.3, 0.7]), draws, 11, 0.95)  # variance 0.07
    patients, seeds = 0.04, 0.07 / 3
    freedom = (patients + seeds) ** 2 / (patients**2 / 10 + seeds**2 / 2)
    half = t.ppf(0.975, freedom) * (patients + seeds) ** 0.5
    assert found.value == pytest.approx(0.4) and found.degrees_of_freedom == pytest.approx(freedom)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert (found.patients_se, found.seeds_se) == pytest.approx((0.2, seeds**0.5))
    assert found.standard_error == pytest.approx((patients + seeds) ** 0.5)
    detectable = (t.ppf(0.975, freedom) + t.ppf(0.8, freedom)) * found.standard_error
    assert found.smallest_detectable == pytest.approx(detectable)


def test_one_seed_has_no_spread_of_seeds() -> None:
    found = combine(np.array([0.4]), np.array([0.3, 0.5]), 11, 0.9)
    assert found.seeds_se is None and found.degrees_of_freedom == 10
    assert verdict(found, higher_is_better=True) == "not shown: one seed"


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.5, 0.6, 0.7], "better"), ([-0.5, -0.6, -0.7], "worse"),
     ([0.9, 0.01, -0.7], "not shown: the interval has 0 in it"),
     ([0.0, 0.0, 0.0], "not shown: the interval has 0 in it")],
)  # fmt: skip
def test_verdicts(values: list[float], words: str) -> None:
    mean = np.mean(values)
    found = combine(np.array(values), mean + np.array([-1e-3, 1e-3]) * bool(mean), 50, 0.95)
    assert verdict(found, higher_is_better=True) == words
    swapped = {"better": "worse", "worse": "better"}
    assert verdict(found, higher_is_better=False) == swapped.get(words, words)


def test_seeds_that_disagree_in_sign_show_nothing() -> None:
    values = np.array([*[1.0] * 19, -0.01])
    found = combine(values, values.mean() + np.array([-1e-3, 1e-3]), 50, 0.95)
    assert found.low > 0 and verdict(found, higher_is_better=True) == "not shown: seeds disagree in sign"


def test_a_share_without_an_error_is_not_certain() -> None:
    found = combine(np.array([1.0]), np.ones(50), 10, 0.95, (0.0, 1.0))
    assert found.high == 1 and found.low == pytest.approx(0.025 ** (1 / 10))  # Clopper and Pearson, 10 of 10
    none = combine(np.array([0.0]), np.zeros(50), 10, 0.95, (0.0, 1.0))
    assert none.low == 0 and none.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_draws_without_a_figure_are_left_out_and_bounds_hold() -> None:
    found = combine(np.array([0.98]), np.array([0.9, np.nan, 1.0]), 11, 0.95, (0.0, 1.0))
    assert found.patients_se == pytest.approx(0.05 * 2**0.5) and found.high == 1


def test_one_draw_serves_both_sides() -> None:
    """What is common to both drops out: the same patients' hardness is no uncertainty of the difference."""
    rng = np.random.default_rng(0)
    owner, draws = np.arange(50), draw_patients(50, 200, seed=0)
    hard = rng.normal(size=50)
    seeds = [[sample(mean_of(hard + shift, owner), draws)] for shift in (1.0, 0.0)]
    found = difference(seeds[0], seeds[1], 0.95)
    assert found.value == pytest.approx(1) and found.patients_se == pytest.approx(0, abs=1e-12)
    assert estimate(seeds[0], 0.95).patients_se == pytest.approx(hard.std() / 50**0.5, rel=0.2)


def simulate(repeats: int, between_seeds: float, seed: int) -> tuple[float, float]:
    """Shares of intervals that hold the true difference: as given here, and of the patients alone.

    Two arms of SEEDS networks each; a slice's loss is what is hard about its patient + a network's own shift + what
    this network makes of this patient. Patients have 4 to 11 slices, 40 patients; the true difference is 0.1.
    """
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(PATIENTS), rng.integers(4, 12, PATIENTS))
    draws = draw_patients(PATIENTS, 200, seed)
    slices = np.bincount(owner)
    drawn = draws @ slices
    held, alone = 0, 0
    for _ in range(repeats):
        arms = []
        common = rng.normal(size=PATIENTS)
        for shift in (0.1, 0.0):
            own = rng.normal(size=PATIENTS) * 0.5  # the arm's, in every seed: that of the patients drawn
            networks = rng.normal(size=(SEEDS, 1)) * between_seeds + rng.normal(size=(SEEDS, PATIENTS)) * 0.2
            sums = slices * (common + own + shift + networks)
            values = sums.sum(axis=1) / slices.sum()
            arms.append([Sampled(float(v), d, PATIENTS) for v, d in zip(values, (sums @ draws.T) / drawn, strict=True)])
        found = difference(arms[0], arms[1], 0.95)
        held += found.low <= 0.1 <= found.high
        alone += abs(found.value - 0.1) <= norm.ppf(0.975) * found.patients_se
    return held / repeats, alone / repeats


@pytest.mark.parametrize("between_seeds", [0.1, 0.25])
def test_intervals_cover_and_patients_alone_do_not(between_seeds: float) -> None:
    held, alone = simulate(3000, between_seeds, seed=1)
    assert 0.92 <= held <= 0.985
    assert alone < held - 0.04 and (between_seeds < 0.2 or alone < 0.8)


def test_intervals_of_an_auc_cover() -> None:
    """Slices of a patient are alike. Positive ones score higher by 1, with a variance of 0.7² + 1² in both classes."""
    rng = np.random.default_rng(0)
    owner, draws = np.arange(240) // 4, draw_patients(60, 150, seed=0)
    true, held = norm.cdf(1 / (2 * 1.49) ** 0.5), 0
    for _ in range(600):
        truth = (rng.random(60) < 0.4)[owner] & (rng.random(240) < 0.6)
        score = truth + rng.normal(size=60)[owner] * 0.7 + rng.normal(size=240)
        positive = len(np.unique(owner[truth]))
        found = estimate([sample(auc_of(truth, score, owner), draws, positive)], 0.95)
        held += found.low <= true <= found.high
    assert 0.92 <= held / 600 <= 0.98


def test_owners_of_a_sample_are_its_columns() -> None:
    owner, count = owners(["x", "y", "y"])
    found = sample(mean_of(np.array([0.0, 1.0, 1.0]), owner), draw_patients(count, 100, 0))
    assert found.value == pytest.approx(2 / 3) and found.patients == 2
