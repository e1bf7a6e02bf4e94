import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.card import read_card
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from evaluation.scores import scores_of
from settings.errors import BadParameter
from stages.floors import run
from tests.evaluation.jobs import make_job
from tests.evaluation.made import HU_SIDE, LABELS, make_split

FLOORS: dict[str, Any] = {
    "position_bins": 4, "position_smoothing": 10, "hyperdense": [50, 90], "bone": 180, "erode": 0.02,
}  # fmt: skip
EVALUATE = {"clip": 1e-15, "intervals": {"replicates": 100, "confidence": 0.95, "seed": 0}}
INPUTS = [
    f"artifacts/ct/hu-{HU_SIDE}",
    *(f"artifacts/split/{n}.parquet" for n in ("parts", "labels-train", "labels-test")),
]


def floors(root: Path, monkeypatch: pytest.MonkeyPatch, clip: float = 1e-15, **change: Any) -> dict[str, Any]:
    make_split(root)
    evaluate = {**EVALUATE, "clip": clip}
    parameters = {"floors": {**FLOORS, **change}, "evaluate": evaluate, "prepare_ct": {"hu_side": HU_SIDE}}
    job = make_job(root, monkeypatch, "floors", parameters, INPUTS, ["artifacts/floors"])
    run(job)
    assert read_card(job.out("artifacts/floors"), "floors")["labels"] == list(LABELS)
    found: dict[str, Any] = json.loads((job.out("artifacts/floors") / "floors.json").read_text())
    return found


def test_floors_are_fitted_on_train_and_scored_on_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = floors(tmp_path, monkeypatch)
    assert list(found["floors"]) == ["always-no", "prevalences", "slice-position", "hyperdense-area"]
    train, test = (pq.read_table(tmp_path / f"artifacts/split/labels-{part}.parquet") for part in ("train", "test"))
    truth = np.stack([test[label].to_numpy() for label in LABELS], axis=1)
    assert found["floors"]["always-no"]["mean_accuracy"] == pytest.approx(1 - truth.mean())
    p = (train["any"].to_numpy().sum() + 0.5) / (train.num_rows + 1)
    expected = -np.where(truth[:, 5], np.log(p), np.log(1 - p)).mean()
    assert found["floors"]["prevalences"]["labels"]["any"]["log_loss"] == pytest.approx(expected)
    assert found["area"]["auc_any_test"] == 1  # blood is drawn where `any` is 1 and nowhere else
    assert found["floors"]["hyperdense-area"]["auc_any"] is None  # five patients are too few
    loss = found["floors"]["prevalences"]["intervals"]["weighted_log_loss"]
    assert loss["low"] < found["floors"]["prevalences"]["weighted_log_loss"] < loss["high"]
    assert found["train"]["slices"] == 40 == found["train"]["cnn"]["slices"] + found["train"]["head"]["slices"]


def test_they_are_held_from_0_and_1_as_far_as_the_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = floors(tmp_path, monkeypatch, clip=0.01)["floors"]["always-no"]
    share = pq.read_table(tmp_path / "artifacts/split/labels-test.parquet")["any"].to_numpy().mean()
    assert found["labels"]["any"]["log_loss"] == pytest.approx(-share * np.log(0.01) - (1 - share) * np.log(0.99))


def test_the_answers_are_left_for_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = floors(tmp_path, monkeypatch)
    for name, figures in found["floors"].items():
        scores = scores_of(pq.read_table(tmp_path / f"artifacts/.floors.part/scores-{name}.parquet"), LABELS)
        loss = weighted_log_loss(scores.truth, sigmoid(scores.logits), label_weights(LABELS))
        assert loss == pytest.approx(figures["weighted_log_loss"], rel=1e-5)


def test_bone_above_the_stored_range_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadParameter, match=r"floors\.bone: 300"):
        floors(tmp_path, monkeypatch, bone=300)
