"""Intervals of the audit's figures, and the words for how a figure stands between its floor and its ceiling.

Floor: what is had for nothing. Ceiling: the best that can be hoped for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Hits = npt.NDArray[Any]  # seeds×n or n, 0 or 1


def share(hits: npt.NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    """`{share, low, high, n}` of independent hits, by Wilson's score interval (J. Am. Stat. Assoc. 22:209, 1927)."""
    from scipy.stats import binomtest

    n = len(hits)
    found = binomtest(int(hits.sum()), n).proportion_ci(confidence, method="wilson")
    return {"share": float(hits.mean()), "low": float(found.low), "high": float(found.high), "n": n}


def share_over_seeds(hits: Hits, confidence: float) -> dict[str, Any]:
    """`{share, low, high, n, seeds, seed_sd}` of seeds×n hits on the same n images.

    SE² = SE²(images) + s²/S, s the sd over S seeds; t interval with Satterthwaite's degrees of freedom. The images'
    part is Agresti and Coull's (Am. Stat. 52:119, 1998), so that 100 % of few images is no certainty.
    """
    seeds, n = hits.shape
    z = _normal(confidence)
    middle = (hits.mean() * n + z * z / 2) / (n + z * z)
    half, sd = _half_width(middle * (1 - middle) / (n + z * z), n, hits.mean(axis=1), confidence)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"share": float(hits.mean()), "low": low, "high": high, "n": n, "seeds": seeds, "seed_sd": sd}


def difference(first: Hits, second: Hits, confidence: float) -> tuple[float, float]:
    """Interval of the mean of first - second, paired by image and seed (each seeds×n); both parts as above.

    One that touches only one side of 0 although seeds differ in sign is widened to hold 0.
    """
    paired = np.atleast_2d(first).astype(np.float64) - np.atleast_2d(second)
    by_image, by_seed = paired.mean(axis=0), paired.mean(axis=1)
    half, _ = _half_width(by_image.var(ddof=1) / len(by_image), len(by_image), by_seed, confidence)
    low, high = float(paired.mean() - half), float(paired.mean() + half)
    if by_seed.min() < 0 < by_seed.max():
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def apart(low: float, high: float, other_low: float, other_high: float) -> tuple[float, float]:
    """Interval of a difference from two intervals that are independent: (first - second)'s middle ± root of squares."""
    middle = (low + high - other_low - other_high) / 2
    half = ((high - low) ** 2 + (other_high - other_low) ** 2) ** 0.5 / 2
    return middle - half, middle + half


def verdict(to_floor: tuple[float, float] | None, to_ceiling: tuple[float, float] | None) -> str:
    """Words for a figure; each interval is of (figure - anchor), its sign turned so that above 0 is better."""
    words = []
    for anchor, interval in (("floor", to_floor), ("ceiling", to_ceiling)):
        if interval is None:
            continue
        low, high = interval
        if low > 0:
            words.append(f"better than its {anchor}")
        elif high < 0:
            words.append(f"worse than its {anchor}")
        else:
            words.append(f"not distinguishable from its {anchor} at this sample size")
    return ", ".join(words) or "no anchor to hold it against"


def _half_width(variance: float, n: int, by_seed: npt.NDArray[Any], confidence: float) -> tuple[float, float]:
    """Half the interval's width, and the sd over seeds."""
    from scipy.stats import t

    seeds = len(by_seed)
    sd = float(by_seed.std(ddof=1)) if seeds > 1 else 0.0
    between = sd * sd / seeds
    total = variance + between
    if total == 0:
        return 0.0, sd
    freedom = total**2 / (variance**2 / (n - 1) + between**2 / max(1, seeds - 1))
    return float(t.ppf((1 + confidence) / 2, freedom) * total**0.5), sd


def _normal(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + confidence) / 2))
