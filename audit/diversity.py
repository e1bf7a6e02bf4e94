"""Are the translated photos as unlike each other as CT is? One picture for every photo has a ratio near 0."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

CELLS = 32  # distances are taken between 32×32 area means: layout and tissue, not noise


def pairwise(images: npt.NDArray[np.uint8], low: float, high: float) -> npt.NDArray[np.float64]:
    """n×H×W one-channel uint8 over low … high → n×n: mean absolute difference of their 32×32 area means in HU."""
    import torch
    from scipy.spatial.distance import pdist, squareform

    values = torch.from_numpy(images.astype(np.float32))[:, None]
    cells = torch.nn.functional.adaptive_avg_pool2d(values, CELLS).flatten(1).numpy()
    return squareform(pdist(cells, "cityblock")) / CELLS**2 * ((high - low) / 255)


def diversity(
    translated: npt.NDArray[np.uint8], ct: npt.NDArray[np.uint8], patients: Sequence[str], low: float, high: float
) -> dict[str, Any]:
    """Mean distance of pairs (HU) of translated photos, of CT views of different patients, and their ratio.

    With one patient its own views are paired, and `across_patients` is false.
    """
    owner = np.asarray(patients)
    pairs = owner[:, None] != owner[None, :]
    across = bool(pairs.any())
    if not across:
        pairs = ~np.eye(len(ct), dtype=bool)
    ours = pairwise(translated, low, high)[~np.eye(len(translated), dtype=bool)].mean()
    theirs = pairwise(ct, low, high)[pairs].mean()
    ratio = float(ours / theirs) if theirs > 0 else None
    return {"translated": float(ours), "ct": float(theirs), "ratio": ratio, "across_patients": across}
