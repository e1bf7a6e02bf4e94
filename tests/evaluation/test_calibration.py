import numpy as np
import pytest

from evaluation.calibration import (
    calibration_error_of,
    fit_temperature,
    fit_temperatures,
    mass_bins,
    reliability,
    scaled,
)
from evaluation.metrics import label_weights, log_losses, sigmoid
from evaluation.resampling import draw_patients


def answers(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and logits that are `temperature` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 2)) * 2 - 1
    return (rng.random((count, 2)) < sigmoid(logits)).astype(np.uint8), logits * temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_and_lowers_the_loss(temperature: float) -> None:
    truth, logits = answers(20_000, temperature)
    found = fit_temperature(truth, logits, np.ones(2))
    assert found == pytest.approx(temperature, rel=0.06)
    losses = [log_losses(truth, sigmoid(logits / t)).mean() for t in (found, found * 1.1, found / 1.1)]
    assert losses[0] == min(losses)


def test_without_an_error_the_range_ends_it() -> None:
    truth = np.array([[1], [0]], dtype=np.uint8)
    assert fit_temperature(truth, np.array([[1.0], [-1.0]]), np.ones(1)) == pytest.approx(0.05, rel=1e-3)


def test_a_label_with_few_patients_has_the_common_temperature() -> None:
    truth, logits = answers(2000, 2.0)
    logits[:, 1] *= 2
    weights = label_weights(["subdural", "any"])
    own, common = fit_temperatures(truth, logits, weights, [10, 9], few=10)
    assert own.own and own.value == pytest.approx(2, rel=0.15) and not common.own
    assert common.value == fit_temperature(truth, logits, weights) and common.value > own.value
    np.testing.assert_allclose(scaled(logits, [own, common])[:, 1], sigmoid(logits[:, 1] / common.value))


def test_bins_hold_equal_counts_and_equal_answers_together() -> None:
    p = np.random.default_rng(0).random(100)
    assert np.bincount(mass_bins(p, 4)).tolist() == [25, 25, 25, 25]
    where = mass_bins(np.array([0.1] * 50 + [0.2] * 50), 10)
    assert len(set(where[:50])) == len(set(where[50:])) == 1 and where[0] != where[-1]
    assert len(set(mass_bins(np.full(9, 0.3), 5))) == 1


def test_calibration_error_by_hand() -> None:
    p = np.array([0.1, 0.2, 0.6, 0.9])
    truth = np.array([0, 1, 1, 1])
    owner = np.array([0, 0, 1, 1])
    statistic = calibration_error_of(truth, p, owner, 2)
    # |0.15 - 0.5| and |0.75 - 1|, half of the slices each
    assert statistic(np.ones((1, 2)))[0] == pytest.approx((0.35 + 0.25) / 2)
    assert statistic(np.array([[2.0, 0.0]]))[0] == pytest.approx(0.35)
    assert [row["observed"] for row in reliability(truth, p, 2)] == [0.5, 1.0]
    assert reliability(truth, p, 2)[0] == {"answered": pytest.approx(0.15), "observed": 0.5, "count": 2}


def test_draws_weigh_the_bins_as_repeated_slices_do() -> None:
    truth, logits = answers(400, 2.0)
    truth, p = truth[:, 0], sigmoid(logits[:, 0])
    owner = np.arange(400) // 8
    draws = draw_patients(50, 5, seed=0)
    where = mass_bins(p, 8)
    for draw, found in zip(draws, calibration_error_of(truth, p, owner, 8)(draws), strict=True):
        w = draw[owner]
        gaps = [abs((w * (p - truth))[where == b].sum()) for b in range(8)]
        assert found == pytest.approx(sum(gaps) / w.sum())


def test_scaling_calibrates_what_was_overconfident() -> None:
    truth, logits = answers(20_000, 3.0)
    owner, one = np.arange(20_000), np.ones((1, 20_000))
    before, after = (
        calibration_error_of(truth[:, 0], sigmoid(logits[:, 0] / t), owner, 15)(one)[0] for t in (1.0, 3.0)
    )
    assert before > 0.1 and after < 0.02
