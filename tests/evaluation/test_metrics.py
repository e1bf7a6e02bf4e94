import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from evaluation.figures import figures_of
from evaluation.metrics import (
    auc,
    average_precision,
    counts,
    label_weights,
    log_losses,
    mean_accuracy,
    sigmoid,
    summary,
    weighted_log_loss,
)
from settings.errors import BadArtifact
from tests.evaluation.made import LABELS

# Share of positive slices in the competition, in the order of LABELS, rounded to 0.01 %: by that alone the loss of
# answering them, known as 0.2311, may be off by 1.5e-4 (it comes out as 0.23116).
COMPETITION = np.array([0.0042, 0.0480, 0.0348, 0.0474, 0.0627, 0.1434])


def test_floors_at_the_competitions_prevalences() -> None:
    count = 10_000
    truth = np.stack([np.arange(count) < round(count * share) for share in COMPETITION], axis=1).astype(np.uint8)
    no = np.zeros((count, 6))
    assert mean_accuracy(truth, no) == pytest.approx(0.9433, abs=5e-5)  # the paper's row of the pure ViT
    prevalences = np.tile(COMPETITION, (count, 1))
    assert weighted_log_loss(truth, prevalences, label_weights(LABELS)) == pytest.approx(0.2311, abs=1.5e-4)
    assert log_losses(truth, no, 1e-15).max() == pytest.approx(-np.log(1e-15))


def test_log_loss_by_hand() -> None:
    truth, p = np.array([[1, 0], [0, 1]]), np.array([[0.5, 0.25], [0.1, 0.8]])
    first, second = (np.log(2) - np.log(0.9)) / 2, (-np.log(0.75) - np.log(0.8)) / 2
    assert weighted_log_loss(truth, p, label_weights(["subdural", "any"])) == pytest.approx((first + 2 * second) / 3)
    assert weighted_log_loss(truth, p, np.ones(2)) == pytest.approx((first + second) / 2)


def test_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 6)) < 0.3).astype(np.uint8)
    p = rng.random((200, 6))
    weights = label_weights(LABELS)
    assert weights.tolist() == [1, 1, 1, 1, 1, 2]
    expected = log_loss(truth.ravel(), p.ravel(), sample_weight=np.tile(weights, 200))
    assert weighted_log_loss(truth, p, weights) == pytest.approx(expected)
    found = summary(truth, p, [f"p{n // 10}" for n in range(200)], LABELS)
    assert found["weighted_log_loss"] == pytest.approx(expected)
    assert found["equal_log_loss"] == pytest.approx(log_loss(truth.ravel(), p.ravel()))
    assert found["mean_accuracy"] == pytest.approx(((p > 0.5) == truth).mean())
    assert found["mean_auc"] == pytest.approx(roc_auc_score(truth, p, average="macro"))
    assert found["labels"]["any"]["average_precision"] == pytest.approx(average_precision_score(truth[:, 5], p[:, 5]))
    assert found["auc_any"] == found["labels"]["any"]["auc"]


def test_auc_and_average_precision_by_hand() -> None:
    truth, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert auc(truth, score) == 0.75  # 3 of the 4 pairs are in order
    assert average_precision(truth, score) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert auc(truth, np.ones(4)) == 0.5


def test_a_label_of_one_class_has_no_auc() -> None:
    truth = np.zeros((40, 6), dtype=np.uint8)
    truth[:20, 5] = truth[:10, 4] = truth[:9, 3] = 1
    found = summary(truth, np.full((40, 6), 0.2), [f"p{n}" for n in range(40)], LABELS)
    # Nine positive patients are too few; ten are enough.
    assert found["labels"]["subarachnoid"]["auc"] is None and found["labels"]["subarachnoid"]["positive_patients"] == 9
    assert found["labels"]["epidural"]["auc"] is None and found["labels"]["epidural"]["average_precision"] is None
    assert found["auc_labels"] == 2 and found["mean_auc"] == 0.5


def test_an_auc_needs_ten_patients_of_either_class_as_its_interval_does() -> None:
    """Ten patients have a negative slice of epidural, nine of `any`; all 30 have positive ones of both."""
    patients = [f"p{n}" for n in range(30) for _ in range(2)]
    truth = np.zeros((60, 6), dtype=np.uint8)
    truth[::2, 0] = truth[::2, 5] = 1
    truth[21::2, 0] = truth[19::2, 5] = 1
    p = np.random.default_rng(0).random(truth.shape)
    found = summary(truth, p, patients, LABELS)
    defined = {name for name, label in found["labels"].items() if label["auc"] is not None}
    assert defined == {"epidural"} and found["auc_any"] is None and found["auc_labels"] == 1
    assert found["labels"]["any"]["average_precision"] is None and found["labels"]["any"]["positive_patients"] == 30
    with_interval = figures_of(truth, p, p, patients, LABELS, 1e-15)
    assert {name for name in with_interval if name.startswith("auc_")} == {f"auc_{name}" for name in defined}


def test_patients_are_counted_once() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 1]])
    found = counts(truth, ["a", "a", "b", "c"], ["subdural", "any"])
    assert found["patients"] == 3 and found["positive_patients"] == {"subdural": 1, "any": 2}
    assert found["positive_slices"] == {"subdural": 2, "any": 2}


def test_sigmoid_is_safe_far_out() -> None:
    np.testing.assert_allclose(
        sigmoid(np.array([-1000, -2, 0, 1000], dtype=np.float32)), [0, 0.11920292202211755, 0.5, 1]
    )


def test_what_is_no_score_is_refused() -> None:
    truth = np.zeros((2, 6), dtype=np.uint8)
    with pytest.raises(BadArtifact, match="not a number"):
        summary(truth, np.full((2, 6), np.nan), ["a", "b"], LABELS)
    with pytest.raises(BadArtifact, match="no labelled slice"):
        summary(truth[:0], np.zeros((0, 6)), [], LABELS)
