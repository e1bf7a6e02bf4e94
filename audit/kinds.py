"""The same photos in every form that the translated ones are held against, as a network sees them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from audit.degrade import luminance
from corpus.windows import Windows, quantise, to_windows

Images = npt.NDArray[np.uint8]
Range = tuple[float, float]  # HU

NAMES = {  # in the order of tables and plots; other names are control corpora
    "photos": "original photos",
    "grey": "grey",
    "grey_windowed": "grey as HU, windowed",
    "grey_squeezed": "grey squeezed into 20–45 HU",
    "translated": "translated",
    "permuted": "translated, labels permuted",
    "restyled": "restyled without learning",
    "untrained": "untrained translator",
}
MADE_HERE = ("grey", "permuted")  # kinds of control corpora whose rows the audit makes of photos and translations


class Pair(NamedTuple):
    """Train photos and held-out photos in one form (n×H×W×3, or n×H×W×1 over the HU range)."""

    train: Images
    held_out: Images


def grey(photos: Images) -> Images:
    """RGB → its luma in all three channels."""
    luma = (luminance(photos) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=-1)


def grey_windowed(photos: Images, windows: Windows, hu_range: Range, onto: Range) -> Images:
    """Photos as if CT: luminance 0 … 255 linear to the HU `onto`, as one channel over `hu_range`, then three windows.

    `onto` = `hu_range` is what a translator that changes nothing would give.
    """
    return to_windows(grey_hu(photos, hu_range, onto), windows, *hu_range)


def grey_hu(photos: Images, hu_range: Range, onto: Range) -> Images:
    """The same before the windows: n×H×W×1."""
    hu = onto[0] + luminance(photos) * np.float32((onto[1] - onto[0]) / 255)
    return quantise(hu, *hu_range)[..., None]


def as_seen(images: Images, windows: Windows, hu_range: Range) -> Images:
    """One-channel images through the windows; three channels are windows already."""
    return to_windows(images, windows, *hu_range) if images.shape[-1] == 1 else images


def kinds(
    photos: Pair, translated: Pair, controls: Mapping[str, Pair], windows: Windows, hu_range: Range, squeezed: Range
) -> dict[str, Pair]:
    """Every form of the photos as n×H×W×3, by name, in the order of `NAMES`."""
    found = {
        "photos": photos,
        "grey": Pair(*(grey(part) for part in photos)),
        "grey_windowed": Pair(*(grey_windowed(part, windows, hu_range, hu_range) for part in photos)),
        "grey_squeezed": Pair(*(grey_windowed(part, windows, hu_range, squeezed) for part in photos)),
    }
    for name, pair in {"translated": translated, **controls}.items():
        found[name] = Pair(*(as_seen(part, windows, hu_range) for part in pair))
    return found
