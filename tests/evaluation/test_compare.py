from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from evaluation.compare import Comparison, Run, compare, label_fraction_curve, pool
from evaluation.metrics import sigmoid
from evaluation.parameters import Intervals
from evaluation.scores import Scores
from settings.errors import BadArtifact, BadParameter
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import made_scores, table_of

INTERVALS = Intervals(replicates=200, confidence=0.95, seed=0)
FOLDS = [made_scores(fold, 25, prefix=f"f{fold}-") for fold in (0, 1)]
SHIFTS = {"better": 1.6, "plain": 1.0, "same": 1.0}  # what logits are multiplied with, before noise


def scores(variant: str, seed: int, fold: int) -> Scores:
    rng = np.random.default_rng([seed, fold, sorted(SHIFTS).index(variant)])
    base = FOLDS[fold]
    signal = SHIFTS[variant] * 1.5 * (base.truth - 0.5)
    return replace(base, logits=signal + base.logits / 2 + 0.3 * rng.normal(size=base.logits.shape))


RUNS = {(v, s, f): scores(v, s, f) for v in SHIFTS for s in (0, 1, 2) for f in (0, 1)}
TABLES = {Run(*key): table_of(("test", value)) for key, value in RUNS.items()}


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(TABLES, [("better", "plain"), ("same", "plain")], LABELS, 1e-15, INTERVALS)


def test_rows_are_means_over_seeds_of_the_metric(found: Comparison) -> None:
    """Not the metric of averaged predictions, which is always lower."""
    row = found.row("plain", "weighted_log_loss")
    assert row is not None
    weight = np.tile([1, 1, 1, 1, 1, 2], 400)
    each, p = [], []
    for seed in (0, 1, 2):
        truth = np.concatenate([RUNS["plain", seed, fold].truth for fold in (0, 1)])
        p.append(sigmoid(np.concatenate([RUNS["plain", seed, fold].logits for fold in (0, 1)]).astype(np.float32)))
        each.append(log_loss(truth.ravel(), p[-1].ravel(), sample_weight=weight))
    assert row.estimate.seeds == pytest.approx(each) and row.estimate.value == pytest.approx(np.mean(each))
    assert row.estimate.value > log_loss(truth.ravel(), np.mean(p, axis=0).ravel(), sample_weight=weight)
    area = found.row("plain", "auc_any")
    assert area is not None and area.estimate.seeds[2] == pytest.approx(roc_auc_score(truth[:, 5], p[2][:, 5]))
    assert (found.seeds, found.folds, found.slices, found.patients) == ((0, 1, 2), (0, 1), 400, 50)


def test_contrasts_are_paired_and_say_no_more_than_they_may(found: Comparison) -> None:
    verdicts = {(c.variant, c.metric): c for c in found.contrasts}
    better, same = verdicts["better", "weighted_log_loss"], verdicts["same", "weighted_log_loss"]
    assert better.verdict == "better" and better.estimate.value < 0 and not better.higher_is_better
    assert same.verdict.startswith("not shown")
    rows = [found.row(name, "weighted_log_loss") for name in ("better", "plain")]
    assert all(rows) and better.estimate.patients_se < min(row.estimate.patients_se for row in rows if row)
    assert better.estimate.seeds_se and better.smallest_detectable > 0
    assert "better is better than plain" in better.sentence and "3 seeds" in better.sentence
    assert (
        "no difference between same and plain is shown" in same.sentence
        and "would mostly have been missed" in same.sentence
    )
    assert verdicts["better", "mean_auc"].higher_is_better


def test_one_seed_claims_nothing() -> None:
    one = {run: table for run, table in TABLES.items() if run.seed == 0}
    found = compare(one, [("better", "plain")], LABELS, 1e-15, INTERVALS)
    assert {c.verdict for c in found.contrasts} == {"not shown: one seed"}
    assert "of patients alone" in found.contrasts[0].sentence


def test_a_floor_stands_against_every_seed() -> None:
    tables = {run: table for run, table in TABLES.items() if run.variant == "better"}
    for fold, base in enumerate(FOLDS):
        flat = np.log(base.truth.mean(axis=0) / (1 - base.truth.mean(axis=0)))
        tables[Run("prevalences", 0, fold)] = table_of(("test", replace(base, logits=np.tile(flat, (200, 1)))))
    found = compare(tables, [("better", "prevalences")], LABELS, 1e-15, INTERVALS, floors=["prevalences"])
    assert len(found.contrasts[0].estimate.seeds) == 3 and found.contrasts[0].verdict == "better"
    area = found.row("prevalences", "auc_any")
    assert area is not None and area.estimate.value == pytest.approx(0.5, abs=0.05)
    with pytest.raises(BadArtifact, match=r"prevalences has seeds \[0\], others \[0, 1, 2\]"):
        compare(tables, [], LABELS, 1e-15, INTERVALS)


def without(run: Run) -> dict[Run, pa.Table]:
    return {key: table for key, table in TABLES.items() if key != run}


def test_what_does_not_pair_is_refused() -> None:
    with pytest.raises(BadArtifact, match="same, seed 1, lacks fold 0"):
        pool(without(Run("same", 1, 0)), LABELS)
    with pytest.raises(BadArtifact, match=r"same has seeds \[0, 2\]"):
        pool({run: t for run, t in TABLES.items() if run[:2] != ("same", 1)}, LABELS)
    twice = {Run("x", 0, 0): TABLES[Run("same", 0, 0)], Run("x", 0, 1): TABLES[Run("same", 0, 0)]}
    with pytest.raises(BadArtifact, match="in the test part of two folds"):
        pool(twice, LABELS)
    other = replace(RUNS["same", 0, 0], truth=1 - RUNS["same", 0, 0].truth)
    with pytest.raises(BadArtifact, match="other test slices or labels than better, seed 0"):
        pool({**TABLES, Run("same", 0, 0): table_of(("test", other))}, LABELS)
    with pytest.raises(BadParameter, match="no variant 'plane'; did you mean 'plain'"):
        compare(TABLES, [("better", "plane")], LABELS, 1e-15, INTERVALS)


def test_the_order_of_rows_in_a_table_changes_nothing() -> None:
    run = Run("plain", 0, 0)
    turned = {**TABLES, run: TABLES[run].take(np.arange(TABLES[run].num_rows)[::-1])}
    np.testing.assert_array_equal(pool(turned, LABELS)["plain", 0].logits, pool(TABLES, LABELS)["plain", 0].logits)


def test_the_label_fraction_curve(found: Comparison) -> None:
    arms = {"translated": {1.0: "better", 0.1: "plain", 0.01: "not-run"}, "original": {1.0: "same"}}
    curve = label_fraction_curve(found, arms, "mean_auc")
    assert [(point.arm, point.fraction) for point in curve] == [
        ("translated", 0.1),
        ("translated", 1.0),
        ("original", 1.0),
    ]
    row = found.row("plain", "mean_auc")
    assert row is not None and curve[0].estimate == row.estimate
