"""Stored patterns → Hounsfield units: what a header says of its pixels, done once in a table over 65,536 patterns."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from settings.errors import BadInput

FLOOR = -1024.0  # HU; air is -1000, what lies below is padding (RSNA's signed slices store -2000 outside the circle)
GLITCH_FROM = 3096  # 4096 - 1000: air, wrapped round 12 bits
GLITCH_INTERCEPT = -100  # HU; a scanner's own intercept is near -1000, unless it stores Hounsfield units


class Refused(BadInput):
    """A file that gives no slice: `rule` in one word, and the reason; neither quotes an identifier."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule, self.reason = rule, reason


class Encoding(NamedTuple):
    """How stored patterns become HU; slices of one scanner share it."""

    slope: float
    intercept: float
    bits: int  # BitsStored; the bits above it are junk
    signed: bool
    wrapped: bool = False  # the 12-bit glitch: values from 3096 on are 4096 too high
    padding: tuple[int, int] | None = None  # stored values, both included, that stand for no tissue


class Slice(NamedTuple):
    """Pixels of one frame: 16-bit patterns, rows × columns, and their meaning."""

    stored: npt.NDArray[np.uint16]
    encoding: Encoding
    pixel_spacing: tuple[float, float] | None  # mm between rows, between columns; None if not given

    def hu(self) -> npt.NDArray[np.float32]:
        """Hounsfield units, at least -1024."""
        return hu_table(self.encoding)[self.stored]


def repaired(stored: npt.NDArray[np.uint16], encoding: Encoding) -> Encoding:
    """The encoding with the known 12-bit glitch undone, where it is there.

    Some scanners' exports wrap values below -1000 HU round 12 bits and write an intercept near 0: air at 3096 … 4095,
    tissue at its HU. Only unsigned 12-bit slices with an intercept above -100 and at least 1 % of such pixels, padding
    aside, qualify.
    """
    if encoding.bits == 12 and not encoding.signed and encoding.intercept > GLITCH_INTERCEPT:
        value = stored & 0xFFF
        high = value >= GLITCH_FROM
        if encoding.padding:
            high &= ~_is_padding(encoding)[stored]
        if np.count_nonzero(high) >= 0.01 * stored.size:
            return encoding._replace(intercept=0.0, wrapped=True)
    return encoding


@lru_cache(maxsize=64)
def hu_table(encoding: Encoding) -> npt.NDArray[np.float32]:
    """HU of each of the 65,536 patterns: stored value * slope + intercept (DICOM PS3.3 C.11.1), at least -1024.

    Padding (PS3.3 C.7.5.1.1.2) is -1024 whatever its arithmetic gives. MONOCHROME1 changes nothing: it says how values
    are shown once they are windowed (PS3.3 C.7.6.3.1.2), not what they mean.
    """
    value = _values(encoding)
    if encoding.wrapped:
        value = np.where(value >= GLITCH_FROM, value - 4096, value)
    hu = np.maximum(value * encoding.slope + encoding.intercept, FLOOR)
    if encoding.padding:
        hu[_is_padding(encoding)] = FLOOR
    hu = hu.astype(np.float32)
    hu.flags.writeable = False  # shared by everybody who asks
    return hu


def _values(encoding: Encoding) -> npt.NDArray[np.int64]:
    """The stored value of each pattern, -32768 … 65535."""
    return _sign(np.arange(65536, dtype=np.int64) & ((1 << encoding.bits) - 1), encoding.bits, encoding.signed)


def _is_padding(encoding: Encoding) -> npt.NDArray[np.bool_]:
    """Which patterns are padding; a padding value that does not fit into the stored bits is sought in all 16."""
    assert encoding.padding
    lowest, highest = encoding.padding
    limits = np.array([-(1 << (encoding.bits - 1)), (1 << (encoding.bits - 1)) - 1]) + (
        0 if encoding.signed else 1 << (encoding.bits - 1)
    )
    if limits[0] <= lowest and highest <= limits[1]:
        value = _values(encoding)
    else:
        value = _sign(np.arange(65536, dtype=np.int64), 16, encoding.signed)
    return (value >= lowest) & (value <= highest)


def _sign(value: npt.NDArray[np.int64], bits: int, signed: bool) -> npt.NDArray[np.int64]:
    sign = 1 << (bits - 1)
    return (value ^ sign) - sign if signed else value
