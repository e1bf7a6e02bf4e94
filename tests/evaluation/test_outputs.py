import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.outputs import METRICS, write_evaluation
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import EVALUATE, made_scores, table_of

TABLE = table_of(("val", made_scores(0, 40, 4, prefix="v")), ("test", made_scores(1, 40, 4, prefix="t")))


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_an_evaluation_leaves(tmp_path: Path) -> None:
    details = write_evaluation(tmp_path, TABLE, LABELS, EVALUATE)
    assert json.loads((tmp_path / "details.json").read_text()) == json.loads(json.dumps(details))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert tuple(metrics) == METRICS and metrics["auc_any"] == details["test"]["auc_any"]
    for name in ("weighted_log_loss", "mean_accuracy", "mean_auc", "auc_any"):
        interval = details["test"]["intervals"][name]
        assert interval["value"] == pytest.approx(details["test"][name])
        assert interval["low"] < interval["value"] < interval["high"]
    roc, precision = read(tmp_path / "roc.csv"), read(tmp_path / "precision-recall.csv")
    assert list(roc[0]) == ["false_positive_rate", *LABELS] and len(roc) == len(precision) == 101
    rates = np.array([float(row["any"]) for row in roc])
    assert (np.diff(rates) >= 0).all() and rates[-1] == 1
    assert float(precision[-1]["recall"]) == 1
    rows = read(tmp_path / "reliability.csv")
    chosen = [row for row in rows if (row["level"], row["label"], row["scaled"]) == ("slices", "any", "0")]
    assert sum(int(row["count"]) for row in chosen) == 160
    assert {row["level"] for row in rows} == {"slices", "scans-maximum", "scans-aggregate"}
    for name in ("curves", "reliability"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 600


def test_labels_without_enough_patients_leave_empty_columns(tmp_path: Path) -> None:
    few = table_of(("val", made_scores(0, 8, 3, prefix="v")), ("test", made_scores(1, 8, 3, prefix="t")))
    details = write_evaluation(tmp_path, few, LABELS, EVALUATE)
    assert details["test"]["auc_any"] is None and "auc_any" not in details["test"]["intervals"]
    assert {row["any"] for row in read(tmp_path / "roc.csv")} == {""}
    assert (tmp_path / "curves.png").stat().st_size and (tmp_path / "reliability.png").stat().st_size
