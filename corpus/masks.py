"""Binary masks of slices as bytes: packed bits, then zlib; a mask of 512×512 takes some hundred bytes."""

import zlib

import numpy as np
import numpy.typing as npt

from settings.errors import BadArtifact


def pack_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """The bytes of a mask (rows × columns)."""
    return zlib.compress(np.packbits(mask).tobytes(), level=6)


def unpack_mask(content: bytes, rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """The inverse of `pack_mask`; BadArtifact if the bytes are no mask of that size."""
    try:
        bits = np.frombuffer(zlib.decompress(content), np.uint8)
    except zlib.error:
        raise BadArtifact("a mask is damaged; rerun the stage that wrote it") from None
    if len(bits) != -(-rows * columns // 8):
        raise BadArtifact(f"a mask has {len(bits)} bytes, not {rows} × {columns} bits; rerun the stage that wrote it")
    return np.unpackbits(bits, count=rows * columns).reshape(rows, columns).astype(np.bool_)
