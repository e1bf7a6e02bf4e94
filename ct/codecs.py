"""Pixel data of a DICOM file → the 16-bit patterns of one frame.

A compressed frame is checked before a codec sees it: that its own header says what the file's says (else a codec
would allocate, or write, what the stream asks for) and that it ends as it should (CharLS waits forever for the rest of
a stream that was cut short). Nothing but one frame is decoded.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.encaps import get_frame
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ct.pixels import Refused

UNDEFINED = 0xFFFFFFFF  # length of an element that ends at a delimiter: encapsulated pixels
LAYERS, TILES, PRECINCTS = 64, 1024, 4096  # of JPEG 2000; what scanners and archives write is far below
SOF3, SOF55, SOS = 0xC3, 0xF7, 0xDA  # JPEG lossless, JPEG-LS, start of scan
NO_FRAMES = (0xC4, 0xC8, 0xCC)  # markers among those of frame headers that are none
Pixels = npt.NDArray[np.uint16]
Decoded = tuple[npt.NDArray[np.integer], int]  # samples, and how many of their low bits have a meaning


class Stored(NamedTuple):
    """Where the pixels of a file are and how many there must be."""

    body: bytes  # what follows the file's meta information, inflated
    start: int  # in `body`, of the value of PixelData
    length: int
    frames: int
    rows: int
    columns: int
    offsets: tuple[bytes, bytes] | None  # ExtendedOffsetTable and its lengths


def read_native(pixels: Stored, frame: int, order: str) -> Pixels:
    """A frame of uncompressed pixels (rows × columns), memory shared with the file's if it is little endian."""
    size = 2 * pixels.rows * pixels.columns
    there = 0 if pixels.length == UNDEFINED else min(pixels.length, len(pixels.body) - pixels.start)
    if there < pixels.frames * size:
        raise Refused("truncated", f"{there:,} of {pixels.frames * size:,} bytes of pixels")
    stored = np.frombuffer(pixels.body, order + "u2", size // 2, pixels.start + frame * size)
    return stored.reshape(pixels.rows, pixels.columns).astype(np.uint16, copy=False)


def decode(pixels: Stored, frame: int, syntax: UID, signed: bool) -> Pixels:
    """A frame of compressed pixels (rows × columns), negative values as two's complement."""
    if pixels.length != UNDEFINED:
        raise Refused("damaged", "compressed pixels are not in fragments")
    stream = io.BytesIO(pixels.body)  # shares its memory: of a thousand frames each is read, not copied with the rest
    stream.seek(pixels.start)
    content = get_frame(stream, frame, number_of_frames=pixels.frames, extended_offsets=pixels.offsets)
    name, codec = COMPRESSED[syntax]
    try:
        stored, precision = codec(content, pixels.rows, pixels.columns)
    except (RuntimeError, ValueError) as error:  # imagecodecs' own are RuntimeErrors
        raise Refused("damaged", f"{name} pixels cannot be decoded ({type(error).__name__})") from None
    if stored.shape != (pixels.rows, pixels.columns) or stored.dtype.kind not in "iu":
        raise Refused("damaged", f"{name} pixels are not what their header says")
    patterns = stored.astype(np.uint16)
    if signed and precision < 16:  # a JPEG 2000 stream may have fewer bits than BitsStored says, and no sign
        shift = 16 - precision
        return ((patterns << shift).view(np.int16) >> shift).view(np.uint16)
    return patterns


def _rle(content: bytes, rows: int, columns: int) -> Decoded:
    """PS3.5 annex G: high bytes and low bytes, each as runs."""
    from imagecodecs import dicomrle_decode

    count, first, second = np.frombuffer(content[:12].ljust(12, b"\0"), "<u4").tolist()
    if count != 2 or not 64 <= first < second < len(content):
        raise Refused("damaged", f"{count} segments of runs, where 16-bit pixels have 2")
    decoded = dicomrle_decode(content, "<u2")
    if len(decoded) < 2 * rows * columns:
        raise Refused("truncated", f"{len(decoded):,} of {2 * rows * columns:,} bytes of pixels")
    return np.frombuffer(decoded, "<u2", rows * columns).reshape(rows, columns), 16


def _jpeg_lossless(content: bytes, rows: int, columns: int) -> Decoded:
    """ITU-T T.81, process 14 with any selection value."""
    from imagecodecs import jpeg8_decode

    return jpeg8_decode(_checked_jpeg(content, SOF3, rows, columns)), 16


def _jpeg_ls(content: bytes, rows: int, columns: int) -> Decoded:
    """ITU-T T.87."""
    from imagecodecs import jpegls_decode

    return jpegls_decode(_checked_jpeg(content, SOF55, rows, columns)), 16


def _jpeg_2000(content: bytes, rows: int, columns: int) -> Decoded:
    """ITU-T T.800, and T.814 (high throughput)."""
    from imagecodecs import jpeg2k_decode

    stream, precision = _checked_codestream(content, rows, columns)
    return jpeg2k_decode(stream, numthreads=1), precision


def _checked_jpeg(content: bytes, kind: int, rows: int, columns: int) -> bytes:
    """The stream as it was coded; its frame header must say one channel of this size."""
    content = _ended(content)
    at = 2
    while content[:2] == b"\xff\xd8" and at + 4 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker == kind:
            precision, height, width, channels = (
                content[at + 4],
                int.from_bytes(content[at + 5 : at + 7], "big"),
                int.from_bytes(content[at + 7 : at + 9], "big"),
                content[at + 9],
            )
            _check_size((height, width, channels), precision, rows, columns)
            return content
        if marker in (SOS, SOF55) or (0xC0 <= marker <= 0xCF and marker not in NO_FRAMES):
            break
        at += 2 + length
    raise Refused("damaged", "the compressed stream has no frame header of the kind that the file names")


def _checked_codestream(content: bytes, rows: int, columns: int) -> tuple[bytes, int]:
    """The JPEG 2000 codestream without the boxes that some files have round it, and its bits."""
    start = content.find(b"\xff\x4f\xff\x51")
    content = _ended(content[max(start, 0) :])
    if start < 0 or len(content) < 60:
        raise Refused("damaged", "the compressed stream is no JPEG 2000 codestream")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top = np.frombuffer(
        content, ">u4", 8, 8
    ).tolist()
    channels = int.from_bytes(content[40:42], "big")
    precision, across, down = (content[42] & 0x7F) + 1, *content[43:45]
    _check_size((height - top, width - left, channels), precision, rows, columns)
    if (across, down) != (1, 1) or not tile_width or not tile_height:
        raise Refused("damaged", "the compressed stream is subsampled or has empty tiles")
    tiles = -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height)
    _check_coding(content, tiles, rows * columns)
    return content, precision


def _check_coding(content: bytes, tiles: int, pixels: int) -> None:
    """Layers, tiles and precincts multiply: a few bytes of header can ask for hours."""
    at = 4 + int.from_bytes(content[4:6], "big")
    while content[at : at + 1] == b"\xff" and content[at + 1] != 0x52 and content[at + 1] != 0x90:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    if content[at : at + 2] != b"\xff\x52" or len(content) < at + 14:
        raise Refused("damaged", "the compressed stream does not say how it is coded")
    style, layers, levels = content[at + 4], int.from_bytes(content[at + 6 : at + 8], "big"), content[at + 9]
    smallest = 15
    if style & 1:
        smallest = min((min(size & 15, size >> 4) for size in content[at + 14 : at + 15 + levels]), default=0)
    precincts = tiles + (pixels >> (2 * smallest))
    if layers > LAYERS or tiles > TILES or precincts > PRECINCTS or levels > 32:
        reason = f"{layers} layers, {tiles} tiles, {precincts} precincts in one slice are not believed"
        raise Refused("damaged", reason)


def _check_size(found: tuple[int, int, int], precision: int, rows: int, columns: int) -> None:
    if found != (rows, columns, 1) or not 2 <= precision <= 16:
        raise Refused(
            "damaged",
            f"the compressed stream is of {found[0]} × {found[1]} pixels, {found[2]} channels, {precision} bits; "
            f"the header says {rows} × {columns}",
        )


def _ended(content: bytes) -> bytes:
    content = content.rstrip(b"\0\xff")  # what fills it up to an even length
    if not content.endswith(b"\xff\xd9"):
        raise Refused("truncated", "the compressed stream is cut short")
    return content


NATIVE = {
    ImplicitVRLittleEndian: "implicit LE",
    ExplicitVRLittleEndian: "explicit LE",
    DeflatedExplicitVRLittleEndian: "deflated",
    ExplicitVRBigEndian: "big endian",
}
COMPRESSED: dict[UID, tuple[str, Callable[[bytes, int, int], Decoded]]] = {
    RLELossless: ("RLE", _rle),
    JPEGLossless: ("JPEG lossless", _jpeg_lossless),
    JPEGLosslessSV1: ("JPEG lossless", _jpeg_lossless),
    JPEGLSLossless: ("JPEG-LS", _jpeg_ls),
    JPEGLSNearLossless: ("JPEG-LS near-lossless", _jpeg_ls),
    JPEG2000Lossless: ("JPEG 2000 lossless", _jpeg_2000),
    JPEG2000: ("JPEG 2000", _jpeg_2000),
    HTJ2KLossless: ("HTJ2K lossless", _jpeg_2000),
    HTJ2KLosslessRPCL: ("HTJ2K lossless", _jpeg_2000),
    HTJ2K: ("HTJ2K", _jpeg_2000),
}
LOSSY = (JPEGLSNearLossless, JPEG2000, HTJ2K)
