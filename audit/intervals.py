"""A share with its interval, as every table of the audit gives it."""

from typing import Any

import numpy as np
import numpy.typing as npt


def share(hits: npt.NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    """`{share, low, high, n}` of independent hits, by Wilson's score interval (J. Am. Stat. Assoc. 22:209, 1927)."""
    from scipy.stats import binomtest

    n = len(hits)
    found = binomtest(int(hits.sum()), n).proportion_ci(confidence, method="wilson")
    return {"share": float(hits.mean()), "low": float(found.low), "high": float(found.high), "n": n}
