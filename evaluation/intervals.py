"""Intervals of a figure, and of the difference of two, over patients and over seeds.

The statistic is the mean over seeds of the metric, never the metric of averaged predictions. Two parts of its variance
are added: SE² = SE²(patients) + s²/S. The first is from patients drawn with replacement, one draw for all variants and
seeds; s is the standard deviation of the S per-seed values. The interval is Student's, with Satterthwaite's degrees of
freedom (Biometrics Bulletin 2:110, 1946). Drawing patients alone takes the trained networks for the only ones there
could be: such intervals of 95 % cover 65 to 80 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.metrics import Floats
from evaluation.resampling import Statistic

POWER = 0.8  # with which the smallest detectable difference would be found


@dataclass(frozen=True)
class Sampled:
    """One metric of one trained network: its value, the values in every draw of patients, and how many carry it."""

    value: float
    draws: Floats
    patients: int  # of the rarer class for figures that need both


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference with its interval. Without a spread over seeds the interval is of the patients alone."""

    value: float  # mean over seeds
    low: float
    high: float
    patients_se: float  # standard error from the choice of patients
    seeds_se: float | None  # s/√S; None with one seed: how far training varies is then in no interval
    degrees_of_freedom: float
    confidence: float
    seeds: tuple[float, ...]  # the value of each

    @property
    def standard_error(self) -> float:
        """Both parts together."""
        return float(np.hypot(self.patients_se, self.seeds_se or 0.0))

    @property
    def smallest_detectable(self) -> float:
        """The true difference that a test at this confidence would find in 8 of 10 repetitions of all of this."""
        from scipy.special import stdtrit

        quantiles = stdtrit(self.degrees_of_freedom, np.array([(1 + self.confidence) / 2, POWER]))
        return float(quantiles.sum() * self.standard_error)

    def at(self, confidence: float) -> "Estimate":
        """The same difference with an interval of another confidence; of figures without bounds alone."""
        from scipy.special import stdtrit

        half = float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2)) * self.standard_error
        return replace(self, low=self.value - half, high=self.value + half, confidence=confidence)

    def as_dict(self) -> dict[str, Any]:
        """What details.json keeps of it."""
        names = ("value", "low", "high", "patients_se", "seeds_se", "degrees_of_freedom")
        return {name: getattr(self, name) for name in names}


def sample(statistic: Statistic, draws: Floats, patients: int | None = None) -> Sampled:
    """A statistic on the patients as they are and on every draw. `patients`: as in Sampled; all by default."""
    count = draws.shape[1]
    return Sampled(float(statistic(np.ones((1, count)))[0]), statistic(draws), count if patients is None else patients)


def estimate(seeds: Sequence[Sampled], confidence: float, bounds: tuple[float, float] | None = None) -> Estimate:
    """A metric over the seeds of one variant. `bounds`: what it cannot leave, such as 0 … 1."""
    values = np.array([seed.value for seed in seeds])
    draws = np.mean([seed.draws for seed in seeds], axis=0)
    return combine(values, draws, min(seed.patients for seed in seeds), confidence, bounds)


def difference(first: Sequence[Sampled], second: Sequence[Sampled], confidence: float) -> Estimate:
    """The metric of `first` minus that of `second`, seed by seed and in the same draws of patients."""
    values = np.array([a.value - b.value for a, b in zip(first, second, strict=True)])
    draws = np.mean([a.draws - b.draws for a, b in zip(first, second, strict=True)], axis=0)
    return combine(values, draws, min(seed.patients for seed in (*first, *second)), confidence)


def combine(
    values: Floats, draws: Floats, patients: int, confidence: float, bounds: tuple[float, float] | None = None
) -> Estimate:
    """The interval of the mean of `values` (of each of S seeds).

    `draws`: that mean in every draw of patients, NaN where it is not defined. A share of exactly 0 or 1 that no draw
    changes has Clopper and Pearson's limit for independent patients (Biometrika 26:404, 1934).
    """
    from scipy.special import stdtrit  # Student's quantiles; scipy.stats takes a second to import

    drawn = draws[np.isfinite(draws)]
    variances = [float(drawn.var(ddof=1)) if len(drawn) > 1 else 0.0]
    freedoms = [max(1, patients - 1)]
    if len(values) > 1:
        variances.append(float(values.var(ddof=1)) / len(values))
        freedoms.append(len(values) - 1)
    total = sum(variances)
    terms = sum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    freedom = total**2 / terms if terms else float(freedoms[0])
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * total**0.5
    value = float(values.mean())
    low, high = np.clip([value - half, value + half], *(bounds or (-np.inf, np.inf)))
    if bounds == (0.0, 1.0) and not total and value in bounds:
        # Without an error in any draw the spread is 0 and says nothing: the exact binomial limit stands in.
        least = ((1 - confidence) / 2) ** (1 / patients)
        low, high = (least, 1.0) if value else (0.0, 1 - least)
    return Estimate(
        value,
        float(low),
        float(high),
        variances[0] ** 0.5,
        variances[1] ** 0.5 if len(variances) > 1 else None,
        float(freedom),
        confidence,
        tuple(float(v) for v in values),
    )


def verdict(found: Estimate, higher_is_better: bool) -> str:
    """What may be said of a difference: "better" or "worse" only where interval and all seeds agree."""
    if len(found.seeds) < 2:
        return "not shown: one seed"
    if found.low <= 0 <= found.high:
        return "not shown: the interval has 0 in it"
    if not all(np.sign(seed) == np.sign(found.value) for seed in found.seeds):
        return "not shown: seeds disagree in sign"
    return "better" if (found.value > 0) == higher_is_better else "worse"
