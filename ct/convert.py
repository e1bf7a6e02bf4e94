"""One slice of Hounsfield units → three windows and the one-channel form at each side, and a hash of its content.

Windowed by table first, resized after: a resize of Hounsfield units would let bone bleed into the brain window. The
look-up is Arrow's, which takes 16-bit patterns as they are, where NumPy would first turn them into 64-bit indices.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpus.windows import Windows, apply_window, hu_range, quantise
from ct.dicom import FLOOR, LARGEST_SIDE, Encoding, Refused, Slice, hu_table

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
    spacings, and a slice that is not square is padded with air around its middle.
    Raises Refused where the header's pixel spacing cannot be, or would make a slice of more than LARGEST_SIDE pixels.
    """
    whole = windowed(slice_, forms.windows)
    images = {side: resize(whole, side, side) for side in {*forms.sides, forms.hu_side}}
    return Converted(images, content_hash(look_up(_whole_hu(slice_.encoding), slice_.stored)))


def windowed(slice_: Slice, windows: Windows) -> npt.NDArray[np.uint8]:
    """A slice at its own size, made square: side × side × 4, as `convert` resizes it."""
    rows, columns = slice_.stored.shape
    packed = look_up(_table(slice_.encoding, windows), slice_.stored)
    return _square(packed.view(np.uint8).reshape(rows, columns, 4), slice_.pixel_spacing, windows)


def resize(image: npt.NDArray[np.uint8], rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """An image (height × width × channels, uint8) at another size, by FILTER; the input itself if it has it."""
    import torch

    if image.shape[:2] == (rows, columns):
        return image
    made = np.empty((1, rows, columns, image.shape[2]), np.uint8)
    # What `torch.nn.functional.interpolate` calls, but into channels-last memory like the input's: by itself it would
    # split the channels, which takes half as long again as the resize.
    source, out = (torch.from_numpy(array).permute(0, 3, 1, 2) for array in (image[None], made))
    torch.ops.aten._upsample_bilinear2d_aa.out(source, (rows, columns), False, None, None, out=out)
    return made[0]


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


def copy_channels(kind: str, image: npt.NDArray[np.uint8], place: npt.NDArray[np.uint8]) -> None:
    """Into a corpus of one kind (side × side × 3 or 1) its channels of a converted image (side × side × 4).

    By channel: a copy of three bytes out of four at a time takes six times as long.
    """
    for channel, source in enumerate((0, 1, 2) if kind == "windows" else (3,)):
        place[..., channel] = image[..., source]


def look_up(table: pa.Array, stored: npt.NDArray[np.uint16]) -> npt.NDArray[Any]:
    """The table's value for each of the patterns (rows × columns): all are in it, so that no index is checked."""
    indices = pa.Array.from_buffers(pa.uint16(), stored.size, [None, pa.py_buffer(np.ascontiguousarray(stored))])
    found = pc.take(table, indices, boundscheck=False)
    # Not `to_numpy`, which is read-only: torch warns of that.
    return np.frombuffer(found.buffers()[1], table.type.to_pandas_dtype(), stored.size).reshape(stored.shape)


@lru_cache(maxsize=64)
def _table(encoding: Encoding, windows: Windows) -> pa.Array:
    """Stored pattern → four uint8 in one word: one look-up a pixel in place of four."""
    channels = np.ascontiguousarray(_channels(hu_table(encoding).astype(np.float64), windows))
    return pa.array(channels.view(np.uint32)[:, 0])


def _channels(hu: npt.NDArray[np.float64], windows: Windows) -> npt.NDArray[np.uint8]:
    """HU (n) → n × 4: the three windows, and HU over their range."""
    channels = [(apply_window(hu, window) * 255 + 0.5).astype(np.uint8) for window in windows]
    return np.stack([*channels, quantise(hu, *hu_range(windows))], axis=1)


@lru_cache(maxsize=64)
def _whole_hu(encoding: Encoding) -> pa.Array:
    """Stored pattern → HU, rounded, at most 32767."""
    return pa.array(np.rint(hu_table(encoding)).clip(-32768, 32767).astype(np.int16))


def _square(
    image: npt.NDArray[np.uint8], spacing: tuple[float, float] | None, windows: Windows
) -> npt.NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    if spacing and max(spacing) > UNEVEN * min(spacing):
        if max(spacing) > LONGEST * min(spacing):
            raise Refused("pixel-spacing", f"pixels of {spacing[0]:g} × {spacing[1]:g} mm")
        rows, columns = (round(size * mm / min(spacing)) for size, mm in zip((rows, columns), spacing, strict=True))
        if max(rows, columns) > LARGEST_SIDE:  # a worker has no memory for it
            mm = f"{spacing[0]:g} × {spacing[1]:g} mm"
            raise Refused("too-large", f"pixels of {mm} would make {rows} × {columns} square ones")
        image = resize(image, rows, columns)
    if rows == columns:
        return image
    side = max(rows, columns)
    square = np.empty((side, side, 4), np.uint8)
    square[:] = _channels(np.array([FLOOR], np.float64), windows)[0]
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = image
    return square
