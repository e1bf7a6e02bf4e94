"""Are the three windows functions of one Hounsfield value? Three free channels can be no Hounsfield unit at all."""

from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.windows import Windows, window_table

WRONG = 8.0  # levels of 255 from every Hounsfield value: more than rounding and resizing explain


def consistency(images: npt.NDArray[np.uint8], windows: Windows, hu_range: tuple[float, float]) -> dict[str, Any]:
    """How far pixels (n×H×W×3 uint8 windows) are from the nearest triple that one HU value gives.

    `residual`: by image (n), the mean over pixels of the root mean square over windows, in levels of 255; `wrong`: the
    share of pixels farther than 8 levels. Exactly 0 for windows computed from one channel.
    """
    from scipy.spatial import cKDTree

    packed = images.reshape(-1, 3).astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    seen, places = np.unique(packed, return_inverse=True)
    triples = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=1)
    away = cKDTree(window_table(windows, *hu_range)).query(triples)[0] / 3**0.5
    residual = away[places].reshape(len(images), -1)
    return {"residual": residual.mean(axis=1), "wrong": float((residual > WRONG).mean())}
