"""Are the translated photos as unlike each other as CT is? One picture for every photo has a ratio near 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CELLS = 32  # distances are taken between 32×32 area means: layout and tissue, not noise
BOOTSTRAPS = 1000


def pairwise(images: npt.NDArray[np.uint8], low: float, high: float) -> npt.NDArray[np.float64]:
    """n×H×W one-channel uint8 over low … high → n×n: mean absolute difference of their 32×32 area means in HU."""
    import torch
    from scipy.spatial.distance import pdist, squareform

    values = torch.from_numpy(images.astype(np.float32))[:, None]
    cells = torch.nn.functional.adaptive_avg_pool2d(values, CELLS).flatten(1).numpy()
    return squareform(pdist(cells, "cityblock")) / CELLS**2 * ((high - low) / 255)


def diversity(
    translated: npt.NDArray[np.uint8], ct: npt.NDArray[np.uint8], patients: Sequence[str], low: float, high: float,
    confidence: float = 0.95, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Mean distance of pairs (HU) of translated photos, of CT views of different patients, and their ratio.

    `low`, `high`: percentiles of the ratio when photos and patients (with all their views) are drawn anew. With one
    patient its own views are paired, and `across_patients` is false.
    """
    names, owner = np.unique(np.asarray(patients), return_inverse=True)
    across = len(names) > 1
    if not across:
        names, owner = np.arange(len(ct)), np.arange(len(ct))
    random = np.random.default_rng(seed)
    ours, drawn_ours = _mean_pair(pairwise(translated, low, high), np.arange(len(translated)), random)
    theirs, drawn_theirs = _mean_pair(pairwise(ct, low, high), owner, random)
    found: dict[str, Any] = {"translated": ours, "ct": theirs, "ratio": None, "low": None, "high": None}
    if theirs > 0:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = drawn_ours / drawn_theirs
        ends = np.nanquantile(ratios[np.isfinite(ratios)], [(1 - confidence) / 2, (1 + confidence) / 2])
        found |= {"ratio": ours / theirs, "low": float(ends[0]), "high": float(ends[1])}
    return {**found, "across_patients": across}


def _mean_pair(
    distances: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], random: np.random.Generator
) -> tuple[float, npt.NDArray[np.float64]]:
    """Mean distance of images of different owners, and that of bootstrap draws of owners (nan: one owner alone)."""
    members = np.eye(owner.max() + 1)[owner]
    sums, counts = members.T @ distances @ members, np.outer(members.sum(0), members.sum(0))
    np.fill_diagonal(sums, 0)
    np.fill_diagonal(counts, 0)
    drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), BOOTSTRAPS).astype(np.float64)
    with np.errstate(invalid="ignore"):
        means = np.einsum("bi,ij,bj->b", drawn, sums, drawn, optimize=True) / np.einsum(
            "bi,ij,bj->b", drawn, counts, drawn, optimize=True
        )
    return float(sums.sum() / counts.sum()), means
