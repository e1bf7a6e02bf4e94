import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from evaluation.assessment import assess, assess_all
from evaluation.metrics import sigmoid
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import EVALUATE, made_scores

VAL, TEST = made_scores(0, prefix="v"), made_scores(1, prefix="t")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return assess_all(VAL, TEST, LABELS, EVALUATE)[0]


def test_figures_are_those_of_scikit_learn(found: dict[str, Any]) -> None:
    slices = found["slices"]
    p = sigmoid(TEST.logits)
    expected = log_loss(TEST.truth.ravel(), p.ravel(), sample_weight=np.tile([1, 1, 1, 1, 1, 2], len(p)))
    assert slices["weighted_log_loss"]["value"] == pytest.approx(expected)
    assert slices["mean_auc"]["value"] == pytest.approx(roc_auc_score(TEST.truth, p))
    one = slices["labels"]["subdural"]
    assert one["auc"]["value"] == pytest.approx(roc_auc_score(TEST.truth[:, 4], p[:, 4]))
    assert one["auc"]["low"] < one["auc"]["value"] < one["auc"]["high"]
    temperature = one["calibration"]["temperature"]
    after = one["calibration"]["log_loss"]["after"]["value"]
    assert after == pytest.approx(log_loss(TEST.truth[:, 4], sigmoid(TEST.logits[:, 4] / temperature)))
    assert found["scans-maximum"]["count"] == found["scans-maximum"]["patients"] == 60
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_an_operating_point_is_counted_on_test(found: dict[str, Any]) -> None:
    point = found["slices"]["labels"]["any"]["operating"]["specificity"]
    called = TEST.logits[:, 5] >= point["threshold"]
    assert point["sensitivity"]["value"] == pytest.approx(called[TEST.truth[:, 5] == 1].mean())
    assert point["specificity"]["value"] == pytest.approx((~called)[TEST.truth[:, 5] == 0].mean())
    assert ((VAL.logits[:, 5] < point["threshold"])[VAL.truth[:, 5] == 0]).mean() >= 0.9
    sensitivity, specificity = (point[name]["value"] for name in ("sensitivity", "specificity"))
    assert point["ppv"]["value"] == pytest.approx(0.1 * sensitivity / (0.1 * sensitivity + 0.9 * (1 - specificity)))


def chosen(record: dict[str, Any]) -> list[Any]:
    """All that is fitted or chosen, of every level."""
    found = [record["scans-aggregate"]["regression"]]
    for level in record.values():
        for label in level["labels"].values():
            found.append(label["calibration"]["temperature"])
            found += [point and point["threshold"] for point in label["operating"].values()]
    return found


def test_nothing_is_chosen_on_test(found: dict[str, Any]) -> None:
    other = replace(TEST, truth=TEST.truth[::-1].copy())
    changed = assess_all(VAL, other, LABELS, EVALUATE)[0]
    assert changed["slices"]["weighted_log_loss"] != found["slices"]["weighted_log_loss"]
    assert chosen(changed) == chosen(found)


def test_shuffled_labels_give_chance() -> None:
    """The whole assessment on labels that no score can know: a leak of truth would show as more than chance."""
    rng = np.random.default_rng(0)
    many = [made_scores(seed, 150, prefix="vt"[seed]) for seed in (0, 1)]
    # Patients are shuffled whole, so that labels stay alike within one.
    shuffled = [replace(s, truth=s.truth.reshape(150, 8, 6)[rng.permutation(150)].reshape(-1, 6)) for s in many]
    record = assess_all(shuffled[0], shuffled[1], LABELS, EVALUATE)[0]
    for level in record.values():
        prevalence, points = 0.0, []
        for i, label in enumerate(level["labels"].values()):
            assert label["auc"]["low"] - 0.03 < 0.5 < label["auc"]["high"] + 0.03
            share = label["positive"] / level["count"]
            prevalence += (2 if i == 5 else 1) * -(share * np.log(share) + (1 - share) * np.log(1 - share)) / 7
            points += [
                label["operating"]["specificity"]["sensitivity"],
                label["operating"]["sensitivity"]["specificity"],
            ]
        assert level["mean_auc"]["value"] == pytest.approx(0.5, abs=0.05)
        assert np.mean([point["value"] for point in points]) == pytest.approx(0.1, abs=0.05)  # 1 - 0.9, as by lot
        assert level["weighted_log_loss_scaled"]["after"]["value"] > prevalence - 0.01


def test_labels_with_few_patients_give_a_count_in_place_of_figures() -> None:
    rare = [replace(s, truth=s.truth.copy()) for s in (VAL, TEST)]
    for scores in rare:
        keep = np.isin(scores.patients, sorted(set(scores.patients))[:9])
        scores.truth[~keep, 0] = 0
    label = assess(rare[0], rare[1], LABELS, EVALUATE)[0]["labels"]["epidural"]
    assert label["positive_patients"] < 10 and label["auc"] is None and label["average_precision"] is None
    assert label["operating"]["sensitivity"] is None  # val cannot choose its threshold
    point = label["operating"]["specificity"]
    assert point["sensitivity"] is None and point["ppv"] is None and point["specificity"]["value"] > 0.5
    assert label["calibration"]["fitted_on"] == "all labels"
