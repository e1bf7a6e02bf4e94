import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from evaluation.operating import (
    precision_on_grid,
    predictive_values_of,
    roc_on_grid,
    sensitivity_of,
    specificity_of,
    threshold_at,
)

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORE = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
OWNER = np.arange(8)
ONE = np.ones((1, 8))


@pytest.mark.parametrize(
    ("wanted", "level", "sensitivity", "specificity"),
    [("specificity", 0.75, 1.0, 0.75), ("specificity", 0.9, 0.75, 1.0), ("sensitivity", 0.75, 0.75, 1.0),
     ("sensitivity", 0.8, 1.0, 0.75)],
)  # fmt: skip
def test_thresholds_by_hand(wanted: str, level: float, sensitivity: float, specificity: float) -> None:
    called = threshold_at(TRUTH, SCORE, wanted, level) <= SCORE
    assert sensitivity_of(TRUTH, called, OWNER)(ONE)[0] == sensitivity
    assert specificity_of(TRUTH, called, OWNER)(ONE)[0] == specificity


def test_where_the_highest_score_is_negative_nobody_is_called() -> None:
    score = -SCORE
    threshold = threshold_at(TRUTH, score, "specificity", 0.9)
    assert np.isfinite(threshold) and not (score >= threshold).any()


def test_predictive_values_are_bayes() -> None:
    """At the prevalence of the sample itself they are the counted shares."""
    called = SCORE >= 0.35
    sensitivity, specificity = sensitivity_of(TRUTH, called, OWNER), specificity_of(TRUTH, called, OWNER)
    ppv, npv = predictive_values_of(sensitivity, specificity, 0.5)
    assert ppv(ONE)[0] == pytest.approx(4 / 5) and npv(ONE)[0] == pytest.approx(1)
    rare, _ = predictive_values_of(sensitivity, specificity, 0.01)
    assert rare(ONE)[0] == pytest.approx(0.01 / (0.01 + 0.99 * 0.25))
    nobody = SCORE > 1
    none, _ = predictive_values_of(sensitivity_of(TRUTH, nobody, OWNER), specificity_of(TRUTH, nobody, OWNER), 0.5)
    assert np.isnan(none(ONE)[0])


def test_curves_on_a_grid() -> None:
    np.testing.assert_allclose(roc_on_grid(TRUTH, SCORE, np.array([0.0, 0.2, 0.25, 1.0])), [0.75, 0.75, 1, 1])
    np.testing.assert_allclose(precision_on_grid(TRUTH, SCORE, np.array([0.0, 0.25, 0.8, 1.0])), [1, 1, 0.8, 0.8])
    rng = np.random.default_rng(0)
    truth, score = (rng.random(300) < 0.2).astype(int), rng.random(300)
    at = np.quantile(score, 0.4)
    recall = recall_score(truth, score >= at)
    assert precision_on_grid(truth, score, np.array([recall]))[0] >= precision_score(truth, score >= at)
