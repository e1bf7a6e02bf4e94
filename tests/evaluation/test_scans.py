from dataclasses import replace

import numpy as np
import pytest

from evaluation.metrics import auc, sigmoid
from evaluation.scans import as_json, by_maximum, features, fit_aggregate, out_of_fold
from evaluation.scores import Scores
from settings.errors import BadArtifact
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import made_scores

SMALL = Scores(
    ["a", "b", "c", "d"],
    ["q", "p", "q", "q"],
    np.array([[0, 1], [0, 0], [1, 1], [0, 0]], dtype=np.uint8),
    np.array([[1.0, -1], [0, 3], [-2, 5], [9, 9]]),
    ["s2", "s3", "s2", "s1"],
)


def test_maximum_by_hand() -> None:
    """A patient's two scans are two rows, of one patient."""
    found = by_maximum(SMALL)
    assert found.ids == ["s1", "s2", "s3"] and found.patients == ["q", "q", "p"]
    assert found.truth.tolist() == [[0, 0], [1, 1], [0, 0]] and found.logits.tolist() == [[9, 9], [1, 5], [0, 3]]


def test_slices_without_series_are_refused() -> None:
    with pytest.raises(BadArtifact, match="no series"):
        by_maximum(replace(SMALL, series=[]))


def test_features_by_hand() -> None:
    found = features(SMALL, top=2)
    np.testing.assert_allclose(found[1], [[1, -0.5, np.log(2)], [5, 2, np.log(2)]])
    np.testing.assert_allclose(found[[0, 2], :, 2], 0)


def test_the_aggregate_takes_back_what_more_slices_raise() -> None:
    """Half of the patients have four times the slices and the same bleeds: their maxima are higher, answers are not."""
    few, many = made_scores(0, 300, 6, prefix="a"), made_scores(1, 300, 24, skill=0.0, prefix="b")
    quiet = replace(many, truth=np.zeros_like(many.truth))
    val = Scores(
        few.ids + many.ids, few.patients + many.patients,
        np.concatenate([few.truth, quiet.truth]), np.concatenate([few.logits, quiet.logits]), few.series + many.series,
    )  # fmt: skip
    answer = fit_aggregate(val, 3)(quiet)
    assert by_maximum(quiet).logits.mean() > by_maximum(few).logits[by_maximum(few).truth == 0].mean()
    assert sigmoid(answer.logits).mean() < 0.2


def test_it_is_calibrated_on_average_and_ranks() -> None:
    val, test = made_scores(0, 200), made_scores(1, 200)
    aggregate = fit_aggregate(val, 3)
    answer = aggregate(test)
    np.testing.assert_allclose(sigmoid(answer.logits).mean(axis=0), answer.truth.mean(axis=0), atol=0.1)
    assert (auc(answer.truth[:, 0], answer.logits[:, 0]) or 0) > 0.75
    plain = as_json(aggregate, list(LABELS))["epidural"]
    x = features(test, 3)[:, 0]
    by_hand = plain["intercept"] + x @ [plain["highest"], plain["mean_of_3_highest"], plain["log_slices"]]
    np.testing.assert_allclose(answer.logits[:, 0], by_hand)


def test_a_label_of_one_class_has_its_prevalence() -> None:
    val = made_scores(0, 20)
    val.truth[:, 0] = 0
    assert np.allclose(sigmoid(fit_aggregate(val, 3)(val).logits[:, 0]), 0.5 / 21)


def test_out_of_fold_answers_do_not_know_their_patient() -> None:
    """With labels at random the regression on its own patients looks good, and out of fold does not."""
    val = made_scores(0, 30, skill=0)
    honest, own = out_of_fold(val, 3), fit_aggregate(val, 3)(val)
    assert honest.ids == own.ids
    areas = [np.mean([auc(s.truth[:, i], s.logits[:, i]) or 0 for i in range(5)]) for s in (honest, own)]
    assert areas[0] < 0.55 < areas[1]
    changed = replace(val, truth=val.truth.copy())
    mine = np.array(val.patients) == val.patients[0]
    changed.truth[mine] = 1 - changed.truth[mine]
    np.testing.assert_array_equal(out_of_fold(changed, 3).logits[0], honest.logits[0])


def test_a_patients_scans_are_left_out_together() -> None:
    """Two scans a patient, the same slices in both: a regression that saw the one would know the other's labels."""
    val = made_scores(0, 30, skill=0)
    twice = Scores(
        val.ids + [f"{id_}x" for id_ in val.ids], val.patients * 2, np.tile(val.truth, (2, 1)),
        np.tile(val.logits, (2, 1)), val.series + [f"{name}x" for name in val.series],
    )  # fmt: skip
    changed = replace(twice, truth=twice.truth.copy())
    second = np.array(changed.series) == f"{val.series[0]}x"
    changed.truth[second] = 1 - changed.truth[second]
    row = out_of_fold(twice, 3).ids.index(val.series[0])
    np.testing.assert_array_equal(out_of_fold(changed, 3).logits[row], out_of_fold(twice, 3).logits[row])


def test_one_patient_is_not_enough() -> None:
    with pytest.raises(BadArtifact, match="one patient"):
        out_of_fold(made_scores(0, 1), 3)
