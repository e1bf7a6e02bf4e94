"""Everything that is said of one trained head: what was chosen on val, and what it gives on test, with intervals.

The same for slices and for scans (`evaluation.scans`). Nothing here reads a test label before the thresholds,
temperatures and regressions are fixed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.calibration import (
    Temperature,
    calibration_error_of,
    fit_temperatures,
    reliability,
    scaled,
)
from evaluation.figures import LOSS, SHARE, Figure, figures_of
from evaluation.intervals import difference, estimate
from evaluation.metrics import FEW, Floats, class_patients, label_weights, log_losses, sigmoid
from evaluation.operating import predictive_values_of, sensitivity_of, specificity_of, threshold_at
from evaluation.parameters import Evaluate
from evaluation.resampling import average_precision_of, draw_patients, mean_of, owners
from evaluation.scans import as_json, by_maximum, fit_aggregate, out_of_fold
from evaluation.scores import Scores

Record = dict[str, Any]
Column = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]  # truth, logits, owner of one label
PRECISION_DRAWS = 200  # of the average precision, whose every draw sorts all slices; its standard error is ± 5 %
LEAST = 20  # answers in a bin: with fewer the calibration error is mostly chance
CURVE = ("level", "label", "scaled", "answered", "observed", "count")  # columns of reliability.csv


def assess_all(
    val: Scores, test: Scores, labels: Sequence[str], parameters: Evaluate
) -> tuple[Record, list[Record], dict[str, Scores]]:
    """The levels `slices`, `scans-maximum`, `scans-aggregate`; their reliability curves; their scores on test."""
    aggregate = fit_aggregate(val, parameters.top)
    levels = {
        "slices": (val, test),
        "scans-maximum": (by_maximum(val), by_maximum(test)),
        "scans-aggregate": (out_of_fold(val, parameters.top), aggregate(test)),
    }
    found, curves = {}, []
    for level, (chosen_on, counted_on) in levels.items():
        found[level], rows = assess(chosen_on, counted_on, labels, parameters)
        curves += [{"level": level, **row} for row in rows]
    found["scans-aggregate"]["regression"] = as_json(aggregate, list(labels))
    return found, curves, {level: counted_on for level, (_, counted_on) in levels.items()}


def assess(
    val: Scores, test: Scores, labels: Sequence[str], parameters: Evaluate
) -> tuple[Record, list[dict[str, Any]]]:
    """Figures of one level, and the reliability curves (label, scaled, answered, observed, count) of its labels.

    In the record an estimate is `{value, low, high, patients_se, seeds_se, degrees_of_freedom}`, and None is n/a: for
    want of patients (`positive_patients` says how many there are) or because nothing was called positive.
    """
    owner, patients = owners(test.patients)
    val_owner, val_patients = owners(val.patients)
    draws = draw_patients(patients, parameters.intervals.replicates, parameters.intervals.seed)
    confidence = parameters.intervals.confidence
    probability = sigmoid(test.logits)
    merits = figures_of(test.truth, probability, test.logits, test.patients, labels, parameters.clip)
    estimates = {name: figure.estimated(draws, confidence).as_dict() for name, figure in merits.items()}

    bins = int(np.clip(len(test.ids) // LEAST, 2, parameters.bins))
    weights = label_weights(labels)
    val_positive = [class_patients(column, val_owner)[0] for column in val.truth.T]
    temperatures = fit_temperatures(val.truth, val.logits, weights, val_positive, FEW)
    after = scaled(test.logits, temperatures)
    losses = [log_losses(test.truth, p, parameters.clip) for p in (probability, after)]
    weighted = [Figure(mean_of(loss @ weights / weights.sum(), owner), patients, LOSS, False) for loss in losses]
    found: Record = {
        "count": len(test.ids),
        "patients": patients,
        "val_count": len(val.ids),
        "val_patients": val_patients,
        "confidence": confidence,
        "bins": bins,
        **{name: estimates.get(name) for name in ("weighted_log_loss", "equal_log_loss", "mean_accuracy", "mean_auc")},
        "weighted_log_loss_scaled": _before_and_after(weighted, draws, confidence),
        "labels": {},
    }
    curves: list[dict[str, Any]] = []
    for i, label in enumerate(labels):
        truth = test.truth[:, i]
        positive, negative = class_patients(truth, owner)
        rarer = min(positive, negative)
        precision = None
        if rarer >= FEW:
            figure = Figure(average_precision_of(truth, test.logits[:, i], owner), rarer, SHARE, True)
            precision = figure.estimated(draws[:PRECISION_DRAWS], confidence).as_dict()
        answers = [probability[:, i], after[:, i]]
        loss = [Figure(mean_of(each[:, i], owner), patients, LOSS, False) for each in losses]
        error = [Figure(calibration_error_of(truth, answer, owner, bins), patients, SHARE, False) for answer in answers]
        found["labels"][label] = {
            "positive": int(truth.sum()),
            "positive_patients": positive,
            "negative_patients": negative,
            "val_positive_patients": val_positive[i],
            "auc": estimates.get(f"auc_{label}"),
            "average_precision": precision,
            "calibration": {
                **_temperature(temperatures[i]),
                "log_loss": _before_and_after(loss, draws, confidence),
                "calibration_error": _before_and_after(error, draws, confidence),
            },
            "operating": {
                wanted: _operating(
                    (val.truth[:, i], val.logits[:, i], val_owner),
                    (truth, test.logits[:, i], owner),
                    wanted,
                    parameters,
                    draws,
                )
                for wanted in ("specificity", "sensitivity")
            },
        }
        for was_scaled, answer in enumerate(answers):
            rows = reliability(truth, answer, bins)
            curves += [{"label": label, "scaled": was_scaled, **row} for row in rows]
    return found, curves


def _temperature(found: Temperature) -> Record:
    return {"temperature": found.value, "fitted_on": "this label" if found.own else "all labels"}


def _before_and_after(pair: Sequence[Figure], draws: Floats, confidence: float) -> Record:
    """A figure before and after scaling, and the paired difference (after - before)."""
    before, after = (figure.sampled(draws) for figure in pair)
    return {
        "before": estimate([before], confidence, pair[0].bounds).as_dict(),
        "after": estimate([after], confidence, pair[1].bounds).as_dict(),
        "change": difference([after], [before], confidence).as_dict(),
    }


def _operating(val: Column, test: Column, wanted: str, parameters: Evaluate, draws: Floats) -> Record | None:
    """A label at the threshold that has `wanted` at its level on val; None where val has too few patients to choose it.

    Sensitivity and what hangs on it is None with fewer than FEW positive patients on test; so is specificity with
    fewer than FEW negative ones.
    """
    val_truth, val_logits, val_owner = val
    truth, logits, owner = test
    level = getattr(parameters, wanted)
    val_positive, val_negative = class_patients(val_truth, val_owner)
    deciding = val_positive if wanted == "sensitivity" else val_negative
    if deciding < FEW or not val_positive or not val_negative:
        return None
    threshold = threshold_at(val_truth, val_logits, wanted, level)
    called = logits >= threshold
    sensitivity, specificity = sensitivity_of(truth, called, owner), specificity_of(truth, called, owner)
    ppv, npv = predictive_values_of(sensitivity, specificity, parameters.prevalence)
    positive, negative = class_patients(truth, owner)
    statistics = {
        "sensitivity": (sensitivity, positive),
        "specificity": (specificity, negative),
        "ppv": (ppv, min(positive, negative)),
        "npv": (npv, min(positive, negative)),
    }
    estimates: Record = {}
    for name, (statistic, carried) in statistics.items():
        figure = Figure(statistic, carried, SHARE, True)
        found = figure.estimated(draws, parameters.intervals.confidence).as_dict() if carried >= FEW else None
        estimates[name] = found if found and np.isfinite(found["value"]) else None
    return {
        f"{wanted}_on_val": level,
        "threshold": threshold,  # of the logit
        "val_patients": deciding,  # that chose it
        "prevalence": parameters.prevalence,  # of the predictive values
        **estimates,
    }
