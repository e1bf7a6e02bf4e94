"""Which arm is better, and is that more than chance? From the score tables of all variants, seeds and folds.

Pure functions over tables: no files, no DVC. Folds are pooled: a seed of a variant is one set of scores, in which every
slice was scored by the network that never saw its patient.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evaluation.figures import figures_of
from evaluation.intervals import Estimate, Sampled, difference, estimate, verdict
from evaluation.metrics import sigmoid
from evaluation.parameters import Intervals
from evaluation.resampling import draw_patients, owners
from evaluation.scores import Scores, scores_of
from settings.errors import BadArtifact, BadParameter
from settings.loader import nearest


class Run(NamedTuple):
    """What a score table is of."""

    variant: str
    seed: int
    fold: int


@dataclass(frozen=True)
class Row:
    """A metric of a variant, over its seeds."""

    variant: str
    metric: str
    higher_is_better: bool
    estimate: Estimate


@dataclass(frozen=True)
class Contrast:
    """A metric of `variant` minus that of `baseline`, and what may be said of it (`evaluation.intervals.verdict`)."""

    variant: str
    baseline: str
    metric: str
    higher_is_better: bool
    estimate: Estimate
    verdict: str
    smallest_detectable: float

    @property
    def sentence(self) -> str:
        """One line that claims no more than the interval allows."""
        e, many = self.estimate, len(self.estimate.seeds) > 1
        figure = f"{e.value:+.4f} ({e.confidence:.0%} interval {e.low:+.4f} to {e.high:+.4f}"
        seeds = f", {len(e.seeds)} seeds)" if many else ", of patients alone)"
        if self.verdict in ("better", "worse"):
            claim = f"{self.variant} is {self.verdict} than {self.baseline}"
        else:
            claim = f"no difference between {self.variant} and {self.baseline} is shown"
        reason = "" if self.verdict in ("better", "worse") else f" ({self.verdict.removeprefix('not shown: ')})"
        limit = f"; a difference below {self.smallest_detectable:.4f} would mostly have been missed"
        return f"{self.metric}: {claim}{reason}: {figure}{seeds}{limit}."


@dataclass(frozen=True)
class Comparison:
    """Every variant's metrics, the contrasts asked for, and what they rest on."""

    rows: list[Row]
    contrasts: list[Contrast]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    slices: int
    patients: int
    positive_patients: dict[str, int]  # of each label

    def row(self, variant: str, metric: str) -> Row | None:
        """None: n/a for want of patients of one class."""
        return next((row for row in self.rows if (row.variant, row.metric) == (variant, metric)), None)


class CurvePoint(NamedTuple):
    """An arm at one share of its half of the train patients."""

    arm: str
    fraction: float
    estimate: Estimate


def compare(
    tables: Mapping[Run, pa.Table], contrasts: Sequence[tuple[str, str]], labels: Sequence[str], clip: float,
    intervals: Intervals, floors: Collection[str] = (),
) -> Comparison:  # fmt: skip
    """All rows, and each metric of each contrast (variant, baseline).

    One draw of patients serves all variants and seeds. `floors`: the variants that no seed changes, with one table a
    fold. Raises BadArtifact where variants have other slices, labels, seeds or folds, or a patient is in the test part
    of two folds; BadParameter for a contrast of an unknown variant.
    """
    pooled = pool(tables, labels, floors)
    variants = list(dict.fromkeys(run.variant for run in tables))
    for name in (name for pair in contrasts for name in pair):
        if name not in variants:
            raise BadParameter(f"compare: there is no variant '{name}'{nearest(name, variants)}")
    first = next(iter(pooled.values()))
    owner, patients = owners(first.patients)
    draws = draw_patients(patients, intervals.replicates, intervals.seed)
    sampled: dict[tuple[str, str], list[Sampled]] = {}
    senses, bounds = {}, {}
    for (variant, _), scores in pooled.items():
        figures = figures_of(scores.truth, sigmoid(scores.logits), scores.logits, scores.patients, labels, clip)
        for metric, figure in figures.items():
            sampled.setdefault((variant, metric), []).append(figure.sampled(draws))
            senses[metric], bounds[metric] = figure.higher_is_better, figure.bounds
    rows = [
        Row(variant, metric, senses[metric], estimate(seeds, intervals.confidence, bounds[metric]))
        for (variant, metric), seeds in sampled.items()
    ]
    found = [
        _contrast(variant, baseline, metric, senses[metric], sampled, intervals.confidence)
        for variant, baseline in contrasts
        for metric in senses
    ]
    positive = {name: len(np.unique(owner[first.truth[:, i] > 0])) for i, name in enumerate(labels)}
    seeds, folds = tuple(sorted({run.seed for run in tables})), tuple(sorted({run.fold for run in tables}))
    return Comparison(rows, found, seeds, folds, len(first.ids), patients, positive)


def pool(
    tables: Mapping[Run, pa.Table], labels: Sequence[str], floors: Collection[str] = ()
) -> dict[tuple[str, int], Scores]:
    """The test parts of all folds as one, for each variant and seed, in rising order of seed.

    An AUC over pooled folds also ranks slices that different networks scored: it counts against arms whose folds
    differ in scale.
    """
    folds = sorted({run.fold for run in tables})
    pooled: dict[tuple[str, int], Scores] = {}
    seeds_of: dict[str, list[int]] = {}
    for variant, seed in sorted({(run.variant, run.seed) for run in tables}):
        if missing := [fold for fold in folds if Run(variant, seed, fold) not in tables]:
            raise BadArtifact(f"compare: {variant}, seed {seed}, lacks fold {missing[0]}; run that experiment")
        parts = [scores_of(tables[Run(variant, seed, fold)], labels) for fold in folds]
        patients = [set(part.patients) for part in parts]
        if sum(map(len, patients)) > len(set().union(*patients)):
            raise BadArtifact(f"compare: {variant}, seed {seed}: a patient is in the test part of two folds")
        pooled[variant, seed] = Scores(
            [id_ for part in parts for id_ in part.ids],
            [patient for part in parts for patient in part.patients],
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.logits for part in parts]),
        )
        seeds_of.setdefault(variant, []).append(seed)
    (base, seed), first = next(iter(pooled.items()))
    for (variant, other), scores in pooled.items():
        if scores.ids != first.ids or scores.patients != first.patients or (scores.truth != first.truth).any():
            raise BadArtifact(
                f"compare: {variant}, seed {other}, has other test slices or labels than {base}, seed {seed}; "
                "take experiments of one split"
            )
    most = max((seeds for variant, seeds in seeds_of.items() if variant not in floors), key=len, default=[])
    for variant, seeds in seeds_of.items():
        if seeds != most and variant not in floors:
            raise BadArtifact(f"compare: {variant} has seeds {seeds}, others {most}; run the missing ones")
    return pooled


def label_fraction_curve(
    comparison: Comparison, arms: Mapping[str, Mapping[float, str]], metric: str
) -> list[CurvePoint]:
    """`arms`: arm → share of its half of the train patients → variant.

    Variants that were not run (too few patients) are left out.
    """
    found = []
    for arm, variants in arms.items():
        for fraction, variant in sorted(variants.items()):
            if row := comparison.row(variant, metric):
                found.append(CurvePoint(arm, fraction, row.estimate))
    return found


def _contrast(
    variant: str, baseline: str, metric: str, higher: bool, sampled: Mapping[tuple[str, str], list[Sampled]],
    confidence: float,
) -> Contrast:  # fmt: skip
    first, second = sampled[variant, metric], sampled[baseline, metric]
    most = max(len(first), len(second))  # a floor stands against every seed
    first, second = (seeds * most if len(seeds) == 1 else seeds for seeds in (first, second))
    found = difference(first, second, confidence)
    return Contrast(variant, baseline, metric, higher, found, verdict(found, higher), found.smallest_detectable)
