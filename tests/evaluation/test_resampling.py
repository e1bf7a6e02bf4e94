import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation.resampling import auc_of, average_precision_of, draw_patients, mean_of, mean_statistic, owners

RNG = np.random.default_rng(0)
OWNER = RNG.integers(0, 12, 150)
OWNER[:12] = np.arange(12)
TRUTH = (RNG.random(150) < 0.3).astype(np.uint8)
SCORE = np.round(RNG.normal(size=150) + TRUTH, 1)  # with ties, within and between classes
DRAWS = draw_patients(12, 40, seed=1)


def test_draws_are_with_replacement_and_repeatable() -> None:
    assert DRAWS.shape == (40, 12) and (DRAWS.sum(axis=1) == 12).all() and DRAWS.max() > 1 and DRAWS.min() == 0
    np.testing.assert_array_equal(DRAWS, draw_patients(12, 40, seed=1))
    assert (draw_patients(12, 40, seed=2) != DRAWS).any()


def test_patients_are_numbered_by_name() -> None:
    owner, count = owners(["b", "a", "b"])
    assert owner.tolist() == [1, 0, 1] and count == 2


def test_a_mean_counts_patients_as_often_as_they_were_drawn() -> None:
    weight = RNG.random(150)
    found = mean_of(SCORE, OWNER, weight)(DRAWS)
    expected = [np.average(SCORE, weights=weight * draw[OWNER]) for draw in DRAWS]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(mean_of(SCORE, OWNER)(np.ones((1, 12))), [SCORE.mean()])


def test_auc_and_average_precision_are_scikit_learns_with_weights() -> None:
    areas, precisions = auc_of(TRUTH, SCORE, OWNER)(DRAWS), average_precision_of(TRUTH, SCORE, OWNER)(DRAWS)
    for draw, area, precision in zip(DRAWS, areas, precisions, strict=True):
        assert area == pytest.approx(roc_auc_score(TRUTH, SCORE, sample_weight=draw[OWNER]), abs=1e-12)
        assert precision == pytest.approx(average_precision_score(TRUTH, SCORE, sample_weight=draw[OWNER]), abs=1e-12)


def test_what_is_not_defined_in_a_draw_is_no_number() -> None:
    truth = (OWNER == 3).astype(np.uint8)
    without = np.ones((1, 12))
    without[0, 3] = 0
    for statistic in (
        auc_of(truth, SCORE, OWNER),
        average_precision_of(truth, SCORE, OWNER),
        mean_of(SCORE, OWNER, truth),
    ):
        assert np.isnan(statistic(without)).all() and np.isfinite(statistic(np.ones((1, 12)))).all()


def test_the_mean_of_several() -> None:
    both = mean_statistic([mean_of(SCORE, OWNER), mean_of(TRUTH, OWNER)])(DRAWS)
    np.testing.assert_allclose(both, (mean_of(SCORE, OWNER)(DRAWS) + mean_of(TRUTH, OWNER)(DRAWS)) / 2)
