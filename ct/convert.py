"""One slice of Hounsfield units → three windows and the one-channel form at each side, and a hash of its content.

Windowed by table first, resized after: a resize of Hounsfield units would let bone bleed into the brain window. The
pixels are turned into indices once, in buffers that the process keeps: two look-ups then cost less than one into new
memory.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from corpus.windows import Windows, apply_window, hu_range, quantise
from ct.dicom import FLOOR, Encoding, Refused, Slice, hu_table

FILTER = "antialiased bilinear (a triangle as wide as the reduction), uint8, torch; v1"
UNEVEN = 1.01  # pixels whose height and width differ by more are made square
LONGEST = 4.0  # beyond this ratio the header is not believed
AIR = -500  # HU; a slice with nothing above it shows no body


class Forms(NamedTuple):
    """What is made of each slice."""

    windows: Windows
    sides: tuple[int, ...]  # three windows, pixels
    hu_side: int  # one channel, pixels

    def corpora(self) -> list[tuple[str, int, int]]:
        """Kind, side in pixels and channels of each corpus."""
        return [*(("windows", side, 3) for side in self.sides), ("hu", self.hu_side, 1)]


class Converted(NamedTuple):
    """A slice at each side that is asked for, and what tells it from other slices."""

    images: dict[int, npt.NDArray[np.uint8]]  # side → side × side × 4: the three windows, then HU over their range
    pixels: str  # see `content_hash`


def convert(slice_: Slice, forms: Forms) -> Converted:
    """A slice in all its forms.

    The filter is the same at every size (FILTER). Pixels that are not square are made so, at the finer of the two
    spacings, and a slice that is not square is padded with air around its middle. Not for several threads at once.
    Raises Refused where the header's pixel spacing cannot be.
    """
    whole = windowed(slice_, forms.windows)
    index, _, hu = _buffers(*slice_.stored.shape)
    _whole_hu(slice_.encoding).take(index, mode="clip", out=hu)  # the indices are still those of this slice
    images = {side: resize(whole, side, side) for side in {*forms.sides, forms.hu_side}}
    return Converted(images, content_hash(hu))


def windowed(slice_: Slice, windows: Windows) -> npt.NDArray[np.uint8]:
    """A slice at its own size, made square: side × side × 4, as `convert` resizes it; valid until the next call."""
    rows, columns = slice_.stored.shape
    index, packed, _ = _buffers(rows, columns)
    np.copyto(index, slice_.stored)
    # `clip` is the fastest mode; a 16-bit pattern is never outside of the table.
    _table(slice_.encoding, windows).take(index, mode="clip", out=packed)
    return _square(packed.view(np.uint8).reshape(rows, columns, 4), slice_.pixel_spacing, windows)


def resize(image: npt.NDArray[np.uint8], rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """An image (height × width × channels, uint8) at another size, by FILTER; it may share memory with the input."""
    import torch
    from torch.nn.functional import interpolate

    # The memory is channels-last, which is what torch's 8-bit path is fast at.
    whole = torch.from_numpy(image).permute(2, 0, 1)[None]
    return interpolate(whole, (rows, columns), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


def content_hash(hu: npt.NDArray[np.int16]) -> str:
    """16 hex digits that are the same for the same Hounsfield units (rows × columns) however a file stores them.

    XXH3 (64 bits) of shape and values: among 750,000 slices a chance hit is 1 in 10⁸. Empty for a slice of one value or
    with nothing denser than air: such slices are alike in patients who have nothing to do with each other.
    """
    lowest, highest = hu.min(), hu.max()
    if lowest == highest or highest < AIR:
        return ""
    digest = xxhash.xxh3_64(f"{hu.shape[0]} {hu.shape[1]}\n".encode())
    digest.update(np.ascontiguousarray(hu, "<i2").data)
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _buffers(rows: int, columns: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint32], npt.NDArray[np.int16]]:
    shape = rows, columns
    return np.empty(shape, np.intp), np.empty(shape, np.uint32), np.empty(shape, np.int16)


@lru_cache(maxsize=64)
def _table(encoding: Encoding, windows: Windows) -> npt.NDArray[np.uint32]:
    """Stored pattern → four uint8 in one word: one look-up a pixel in place of four."""
    return np.ascontiguousarray(_channels(hu_table(encoding).astype(np.float64), windows)).view(np.uint32)[:, 0]


def _channels(hu: npt.NDArray[np.float64], windows: Windows) -> npt.NDArray[np.uint8]:
    """HU (n) → n × 4: the three windows, and HU over their range."""
    channels = [(apply_window(hu, window) * 255 + 0.5).astype(np.uint8) for window in windows]
    return np.stack([*channels, quantise(hu, *hu_range(windows))], axis=1)


@lru_cache(maxsize=64)
def _whole_hu(encoding: Encoding) -> npt.NDArray[np.int16]:
    """Stored pattern → HU, rounded, at most 32767."""
    return np.rint(hu_table(encoding)).clip(-32768, 32767).astype(np.int16)


def _square(
    image: npt.NDArray[np.uint8], spacing: tuple[float, float] | None, windows: Windows
) -> npt.NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    if spacing and max(spacing) > UNEVEN * min(spacing):
        if max(spacing) > LONGEST * min(spacing):
            raise Refused("pixel-spacing", f"pixels of {spacing[0]:g} × {spacing[1]:g} mm")
        rows, columns = (round(size * mm / min(spacing)) for size, mm in zip((rows, columns), spacing, strict=True))
        image = resize(image, rows, columns)
    if rows == columns:
        return image
    side = max(rows, columns)
    square = np.empty((side, side, 4), np.uint8)
    square[:] = _channels(np.array([FLOOR], np.float64), windows)[0]
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = image
    return square
