"""Hounsfield units to display windows, and the one-channel form the translator reads and writes.

Everything that turns HU into what a network sees lies here, so that CT, photos and translated photos go through
the same arithmetic. DICOM PS3.3 C.11.2.1.3.2 (LINEAR_EXACT): y = clip((x - (level - width/2)) / width, 0, 1).
"""

from math import isfinite
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from settings.errors import BadParameter

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue as they are coded; Rec. ITU-R BT.601-7, section 2.5.1
WIDEST = 510  # HU in the one-channel form: 2 a level
Array = TypeVar("Array")  # a NumPy array or a torch tensor: both have .clip and arithmetic


class Window(NamedTuple):
    """A window: level and width in Hounsfield units."""

    level: float
    width: float

    @property
    def low(self) -> float:
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        return self.level + self.width / 2


Windows = tuple[Window, Window, Window]


def parse_windows(section: Any) -> Windows:
    """The parameter section `windows` (name: [level, width], three of them) as windows, in the order given."""
    if not isinstance(section, dict) or len(section) != 3:
        raise BadParameter("windows: must name exactly three windows, each as [level, width] in HU")
    parsed = []
    for name, value in section.items():
        if not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
            raise BadParameter(f"windows.{name}: must be [level, width] in HU (got {value!r})")
        if value[1] <= 0:
            raise BadParameter(f"windows.{name}: the width must be above 0 (got {value[1]})")
        parsed.append(Window(float(value[0]), float(value[1])))
    return parsed[0], parsed[1], parsed[2]


def hu_range(windows: Windows) -> tuple[float, float]:
    """Lowest and highest HU of the one-channel form: all that any of the windows tells apart, where that fits.

    Windows that span more than WIDEST (bone) are cut to so much about the level of the narrowest: see docs/adr/0006.
    """
    low, high = _union(windows)
    if high - low > WIDEST:
        level = min(windows, key=lambda window: window.width).level
        low, high = max(low, level - WIDEST / 2), min(high, level + WIDEST / 2)
    return low, high


def beyond_range(windows: Windows) -> str:
    """What the one-channel form does not hold of the windows, in words; empty where it holds all."""
    held, whole = hu_range(windows), _union(windows)
    if held == whole:
        return ""
    return (
        f"one channel holds {held[0]:g} to {held[1]:g} HU of the windows' {whole[0]:g} to {whole[1]:g}; "
        "CT is seen in the whole windows, translated photos and their controls only within that range"
    )


def apply_window(hu: Array, window: Window) -> Array:
    """HU (array or tensor, any shape, floating) to 0…1 in one window; differentiable for tensors."""
    return ((hu - window.low) / window.width).clip(0, 1)  # type: ignore[operator, attr-defined]


def quantise(hu: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """HU to 0…255, linear over low…high, rounded half up; the inverse is `dequantise`."""
    scaled = (hu.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return (scaled.clip(0, 255) + np.float32(0.5)).astype(np.uint8)


def dequantise(values: Array, low: float, high: float) -> Array:
    """0…255 (array or tensor) back to HU as floating point."""
    return values * ((high - low) / 255) + low  # type: ignore[operator, return-value]


def window_table(windows: Windows, low: float, high: float) -> npt.NDArray[np.uint8]:
    """256×3 uint8: the three windows, 0…255, of each value of the one-channel form over low…high."""
    hu = dequantise(np.arange(256, dtype=np.float64), low, high)
    return np.stack([(apply_window(hu, w) * 255 + 0.5).astype(np.uint8) for w in windows], axis=1)


def to_windows(values: npt.NDArray[np.uint8], windows: Windows, low: float, high: float) -> npt.NDArray[np.uint8]:
    """One-channel slices (N×H×W×1, uint8) as three windows (N×H×W×3, uint8)."""
    return window_table(windows, low, high)[values[..., 0]]


def _union(windows: Windows) -> tuple[float, float]:
    return min(window.low for window in windows), max(window.high for window in windows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)
