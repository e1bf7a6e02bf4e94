import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss
from torch import nn

from corpus.card import read_card
from evaluation.cases import read_cases
from evaluation.falls import read_falls
from evaluation.outputs import METRICS
from settings.errors import BadArtifact
from stages import evaluate
from stages.run import Job
from tests.evaluation.jobs import make_job
from tests.evaluation.made import HU_SIDE, LABELS, make_split
from tests.evaluation.simulated import PARAMETERS
from vit.parameters import Variant

ENTRY = {"cnns": ["a", "b"], "patch": 1, "side": None, "projection": None, "encoder": "vit", "seed": 0}
SPLIT = [f"artifacts/split/{name}.parquet" for name in ("parts", "labels-val", "labels-test")]


def made_job(root: Path, monkeypatch: pytest.MonkeyPatch, order: slice = slice(None)) -> Job:
    """Two features folders with the slices of the split; b's in another order if asked for."""
    make_split(root)
    index = pq.read_table(root / f"artifacts/ct/hu-{HU_SIDE}/index.parquet", columns=["id"])
    ids = index.column("id").to_pylist()
    for name, chosen in (("a", ids), ("b", ids[order])):
        (root / "artifacts/features" / name).mkdir(parents=True)
        series = [f"scan-{id_[:-1]}" for id_ in chosen]  # of ten slices
        pq.write_table(pa.table({"id": chosen, "series": series}), root / f"artifacts/features/{name}/index.parquet")
    (root / "artifacts/vit/two").mkdir(parents=True)
    (root / "artifacts/vit/two/model.safetensors").write_bytes(b"abc")
    entry = {key: value for key, value in ENTRY.items() if key in Variant.model_fields}
    parameters = {"evaluate": PARAMETERS, "variants": {"two": entry}}
    inputs = [*SPLIT, "artifacts/vit/two", "artifacts/features/a", "artifacts/features/b"]
    return make_job(root, monkeypatch, "evaluate@two", parameters, inputs, ["artifacts/evaluation/two"])


def test_scores_belong_to_their_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that answers with the number of the row: each slice must get that of its own row, and so its falls."""
    asked: dict[str, Any] = {}

    def open_head(folder: Path, sources: list[Path], *_: Any) -> tuple[nn.Module, None]:
        asked.update(folder=folder.name, sources=[source.name for source in sources])
        return nn.Identity(), None

    def predict_logits(head: nn.Module, inputs: None, rows: np.ndarray, *_: Any) -> np.ndarray:
        return np.tile(rows[:, None] / 40 - 1, (1, 6)).astype(np.float32)

    def occlusion(head: nn.Module, inputs: None, rows: np.ndarray, reference: np.ndarray, *_: Any) -> np.ndarray:
        asked.update(reference=reference)
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 6, 2, 3)).astype(np.float32)

    for name, function in (("open_head", open_head), ("predict_logits", predict_logits), ("occlusion", occlusion)):
        monkeypatch.setattr(evaluate, name, function)
    monkeypatch.setattr(evaluate, "places", lambda head, inputs: (2, 3))
    job = made_job(tmp_path, monkeypatch)
    evaluate.run(job)
    assert (asked["folder"], asked["sources"]) == ("two", ["a", "b"])
    folder = job.out("artifacts/evaluation/two")
    scores = pq.read_table(folder / "scores.parquet")
    assert scores.column_names == ["id", "patient", "part", "series", *LABELS, *(f"logit_{label}" for label in LABELS)]
    assert set(scores["part"].to_pylist()) == {"val", "test"} and scores.num_rows == 40
    assert scores["series"].to_pylist() == [f"scan-{id_[:-1]}" for id_ in scores["id"].to_pylist()]
    rows = np.array([int(id_[1:]) for id_ in scores["id"].to_pylist()])
    np.testing.assert_allclose(scores["logit_any"].to_numpy(), rows / 40 - 1, rtol=1e-6)
    test = scores.filter(np.array(scores["part"].to_pylist()) == "test")
    truth = np.stack([test[label].to_numpy() for label in LABELS], axis=1)
    labelled = pq.read_table(tmp_path / "artifacts/split/labels-test.parquet")
    np.testing.assert_array_equal(truth, np.stack([labelled[label].to_numpy() for label in LABELS], axis=1))
    p = 1 / (1 + np.exp(-np.stack([test[f"logit_{label}"].to_numpy() for label in LABELS], axis=1).astype(np.float64)))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == ["weighted_log_loss", "mean_accuracy", "auc_any", "mean_auc"]
    weight = np.tile([1, 1, 1, 1, 1, 2], len(truth))
    assert metrics["weighted_log_loss"] == pytest.approx(log_loss(truth.ravel(), p.ravel(), sample_weight=weight))
    assert metrics["auc_any"] is None  # five patients are too few
    details = json.loads((folder / "details.json").read_text())
    assert details["levels"]["scans-maximum"]["patients"] == 5
    assert details["val"]["slices"] == details["test"]["slices"] == 20
    card = read_card(folder, "evaluation")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1: of 'abc'
    assert (card["variant"], card["head"]) == ("two", digest)
    falls, cases = read_falls(folder / "occlusion.parquet", LABELS), read_cases(folder / "cases.csv")
    assert falls.values[:, 0, 1, 2].tolist() == [int(id_[1:]) for id_ in falls.ids]
    positive = {id_ for id_, one in zip(labelled["id"].to_pylist(), labelled["any"].to_pylist(), strict=True) if one}
    assert {case.id for case in cases} < set(falls.ids) <= set(test["id"].to_pylist())
    assert len(positive & set(falls.ids)) >= PARAMETERS["occlude"] and len(cases) == 4 * len(LABELS)
    val = set(scores["id"].to_pylist()) - set(test["id"].to_pylist())
    assert {f"i{row:04d}" for row in asked["reference"]} == val, "what is usual comes from val"


def test_what_has_no_places_leaves_no_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "open_head", lambda *_: (nn.Identity(), None))
    monkeypatch.setattr(evaluate, "predict_logits", lambda *given: np.zeros((len(given[2]), 6), np.float32))
    monkeypatch.setattr(evaluate, "places", lambda head, inputs: None)
    found = {**dict.fromkeys(METRICS, 0.5), "slices": 20, "patients": 5}
    monkeypatch.setattr(evaluate, "write_evaluation", lambda *_: {"test": found})
    job = made_job(tmp_path, monkeypatch)
    evaluate.run(job)
    folder = job.out("artifacts/evaluation/two")
    assert (folder / "cases.csv").exists() and not (folder / "occlusion.parquet").exists()


def test_maps_of_other_slices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadArtifact, match=r"features/b: has other slices than"):
        evaluate.run(made_job(tmp_path, monkeypatch, slice(None, None, -1)))


def test_a_slice_without_maps_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["x", "y"]}), tmp_path / "index.parquet")
    assert evaluate.rows_of(["y", "x"], [tmp_path]).tolist() == [1, 0]
    with pytest.raises(BadArtifact, match="has no slice z"):
        evaluate.rows_of(["x", "z"], [tmp_path])
