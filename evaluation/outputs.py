"""What an evaluation leaves: scores, figures as JSON, curves as CSV and pictures."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.assessment import CURVE, assess_all
from evaluation.metrics import sigmoid, summary
from evaluation.parameters import Evaluate
from evaluation.score_plots import LEVELS, draw_curves, draw_reliability, label_curves, write_curves
from evaluation.scores import scores_of

METRICS = ("weighted_log_loss", "mean_accuracy", "auc_any", "mean_auc")


def write_evaluation(folder: Path, table: pa.Table, labels: Sequence[str], parameters: Evaluate) -> dict[str, Any]:
    """Write everything that is drawn from a score table with the parts val and test; returns details.json.

    details.json has `val` and `test` (`evaluation.metrics.summary`; test also `intervals` of the figures of Table 1)
    and `levels` (`evaluation.assessment`). metrics.json has METRICS of test alone: each is a column of `dvc exp show`.
    """
    val, test = (scores_of(table, labels, part) for part in ("val", "test"))
    details: dict[str, Any] = {
        part: summary(scores.truth, sigmoid(scores.logits), scores.patients, labels, parameters.clip)
        for part, scores in (("val", val), ("test", test))
    }
    levels, curves, at_level = assess_all(val, test, labels, parameters)
    slices = levels["slices"]
    names = ("weighted_log_loss", "equal_log_loss", "mean_accuracy", "mean_auc")
    found = {**{name: slices[name] for name in names}, "auc_any": slices["labels"]["any"]["auc"]}
    details["test"]["intervals"] = {name: estimate for name, estimate in found.items() if estimate}
    details["levels"] = levels
    pq.write_table(table, folder / "scores.parquet")
    _write_json(folder / "metrics.json", {name: details["test"][name] for name in METRICS})
    _write_json(folder / "details.json", details)
    with (folder / "reliability.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CURVE, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in curves)
    roc, precision = label_curves(test, labels)
    write_curves(folder / "roc.csv", "false_positive_rate", roc, labels)
    write_curves(folder / "precision-recall.csv", "recall", precision, labels)
    draw_curves(folder / "curves.png", {level: at_level[level] for level in LEVELS}, labels, levels)
    draw_reliability(folder / "reliability.png", curves, labels, levels)
    return details


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
