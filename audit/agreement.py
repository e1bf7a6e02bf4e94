"""Does a classifier that was trained on photos still name the photo in its translation? A secondary row.

It measures photometry as much as content: grey photos squeezed into 25 HU, with every label intact, lose half of it.
So the same photos stand beside it in grey, in grey through the translator's own chain, and squeezed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.degrade import luminance
from audit.intervals import share
from corpus.windows import Windows, quantise, to_windows

Images = npt.NDArray[np.uint8]
Classify = Callable[[Images], npt.NDArray[np.float32]]  # n×H×W×3 uint8 → n×classes logits; any side


def grey(photos: Images) -> Images:
    """RGB → its luma in all three channels."""
    luma = (luminance(photos) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def grey_windowed(photos: Images, windows: Windows, hu_range: tuple[float, float], onto: tuple[float, float]) -> Images:
    """Photos as if CT: luminance 0 … 255 linear to the HU `onto`, as one channel over `hu_range`, then three windows.

    `onto` = `hu_range` is what a translator that changes nothing would give.
    """
    hu = onto[0] + luminance(photos) * np.float32((onto[1] - onto[0]) / 255)
    return to_windows(quantise(hu, *hu_range)[..., None], windows, *hu_range)


def agreement(
    classify: Classify, kinds: dict[str, Images], labels: npt.NDArray[np.int64], confidence: float
) -> dict[str, Any]:
    """For each kind of the same photos: the share that the classifier names rightly, with its interval.

    Also `chance`, 1 / classes. `labels` are columns of the classifier's logits.
    """
    rows: dict[str, Any] = {}
    for name, images in kinds.items():
        logits = classify(images)
        rows[name] = share(logits.argmax(axis=1) == labels, confidence)
    return {**rows, "chance": 1 / logits.shape[1]}
