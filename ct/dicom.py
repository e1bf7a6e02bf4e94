"""One DICOM file → its identity, its place, and its pixels as Hounsfield units; or the reason why not.

Pixels are kept as the 16-bit patterns that the file stores. All arithmetic (unused high bits, sign, rescale, repair,
floor) is done once per kind of header in a table over the 65,536 patterns, and a slice is one look-up in it.
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from settings.errors import BadInput

FLOOR = -1024.0  # HU; air is -1000, what lies below is padding (RSNA's signed slices store -2000 outside the circle)
SMALLEST_SIDE = 64
UNCOMPRESSED = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
# What pydicom raises on bytes that are no proper DICOM, while it reads and while it converts a value.
DAMAGED = (
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    BytesLengthException,
    struct.error,
    zlib.error,
)


class Refused(BadInput):
    """A file that gives no slice: `rule` in one word, and the reason."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule, self.reason = rule, reason


class Header(NamedTuple):
    """Whose slice it is and where it lies; identifiers as in the file, so never to be written into an artifact."""

    id: str  # SOPInstanceUID
    patient: str
    series: str
    position: float  # mm along the slice normal


class Encoding(NamedTuple):
    """How stored patterns become HU; slices of one scanner share it."""

    slope: float
    intercept: float
    bits: int  # BitsStored; the bits above it are junk
    signed: bool
    wrapped: bool = False  # the 12-bit glitch: values from 3096 on are 4096 too high


class Slice(NamedTuple):
    """Pixels of one file: 16-bit patterns, side × side, and their meaning."""

    stored: npt.NDArray[np.uint16]
    encoding: Encoding

    def hu(self) -> npt.NDArray[np.float32]:
        """Hounsfield units, at least -1024."""
        return hu_table(self.encoding)[self.stored]


def read_header(path: Path) -> Header:
    """Identity and position of a file, its pixels unread; Refused for whatever cannot become a slice."""
    with path.open("rb") as file, _reading():
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        _check_kind(dataset)
        _check_format(dataset)
        _encoding(dataset)
        return _header(dataset)


def read_slice(content: bytes) -> Slice:
    """The pixels of a file whose header passed `read_header`; Refused if they are not all there."""
    with _reading():
        dataset = pydicom.dcmread(io.BytesIO(content))
        side = _check_format(dataset)
        encoding = _encoding(dataset)
        data = dataset.PixelData if "PixelData" in dataset else b""
    needed = 2 * side * side
    if not isinstance(data, bytes) or len(data) < needed:
        raise Refused("truncated", f"{len(data) if data else 0:,} of {needed:,} bytes of pixels")
    order = ">u2" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<u2"
    stored = np.frombuffer(data, order, side * side).reshape(side, side).astype(np.uint16, copy=False)
    return Slice(stored, repaired(stored, encoding))


def repaired(stored: npt.NDArray[np.uint16], encoding: Encoding) -> Encoding:
    """The encoding with the known 12-bit glitch undone, where it is there.

    Some scanners' exports wrap values below -1000 HU round 12 bits and write an intercept near 0: air at 3096 … 4095,
    tissue at its HU. Only unsigned 12-bit slices with an intercept above -100 and at least 1 % of such pixels qualify.
    """
    if encoding.bits == 12 and not encoding.signed and encoding.intercept > -100:
        high = np.count_nonzero((stored & 0xFFF) >= 3096)
        if high >= 0.01 * stored.size:
            return encoding._replace(intercept=0.0, wrapped=True)
    return encoding


@lru_cache(maxsize=64)
def hu_table(encoding: Encoding) -> npt.NDArray[np.float32]:
    """HU of each of the 65,536 patterns: stored value * slope + intercept (DICOM PS3.3 C.11.1), at least -1024."""
    value = np.arange(65536, dtype=np.int64) & ((1 << encoding.bits) - 1)
    if encoding.signed:
        sign = 1 << (encoding.bits - 1)
        value = (value ^ sign) - sign
    if encoding.wrapped:
        value = np.where(value >= 3096, value - 4096, value)
    hu = np.maximum(value * encoding.slope + encoding.intercept, FLOOR).astype(np.float32)
    hu.flags.writeable = False  # shared by everybody who asks
    return hu


@contextmanager
def _reading() -> Iterator[None]:
    """What pydicom raises becomes Refused, and it does not warn: RSNA's `ID_…` are no valid UIDs, each time anew."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InvalidDicomError:
        raise Refused("not-dicom", "has no DICOM preamble") from None
    except DAMAGED as error:
        # Only the kind of error: its text may quote a value, and a value may be a name.
        raise Refused("damaged", f"unreadable as DICOM ({type(error).__name__})") from None
    except OSError as error:
        if error.errno is not None:  # the disk's; pydicom's own, for a sequence that is cut short, has no number
            raise
        raise Refused("damaged", "unreadable as DICOM (a sequence is cut short)") from None


def _check_kind(dataset: FileDataset) -> None:
    modality = str(dataset.get("Modality") or "").strip()
    if modality != "CT":
        raise Refused("not-ct", f"modality is {modality[:16] or 'not given'}")
    kind = dataset.get("ImageType") or []
    if "LOCALIZER" in ([kind] if isinstance(kind, str) else list(kind)):
        raise Refused("localizer", "ImageType says LOCALIZER: a scout view, no slice")


def _check_format(dataset: FileDataset) -> int:
    """The side in pixels of a square, one-channel, uncompressed slice; Refused for all else."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax not in UNCOMPRESSED:
        raise Refused("transfer-syntax", f"pixels are stored as {getattr(syntax, 'name', 'not given')}; not read yet")
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise Refused("multi-frame", f"{int(dataset.NumberOfFrames)} frames in one file")
    samples, photometric = dataset.get("SamplesPerPixel", 1), str(dataset.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused("colour", f"{samples} samples a pixel, {photometric[:16] or 'no photometric interpretation'}")
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not isinstance(rows, int) or rows != columns:
        raise Refused("not-square", f"{columns} × {rows} pixels")
    if rows < SMALLEST_SIDE:
        raise Refused("too-small", f"{rows} × {rows} pixels")
    return rows


def _encoding(dataset: FileDataset) -> Encoding:
    allocated, bits = dataset.get("BitsAllocated"), dataset.get("BitsStored")
    high, representation = dataset.get("HighBit"), dataset.get("PixelRepresentation")
    if allocated != 16 or not isinstance(bits, int) or not 2 <= bits <= 16 or high not in (None, bits - 1):
        raise Refused("bits", f"{allocated} bits allocated, {bits} stored, highest bit {high}; 16-bit pixels are read")
    if representation not in (0, 1):
        raise Refused("bits", f"pixel representation is {representation}: signed or not?")
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        raise Refused("no-rescale", "rescale slope or intercept is not given, so there are no Hounsfield units")
    slope, intercept = float(slope), float(intercept)
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        raise Refused("no-rescale", f"rescale slope {slope:g} and intercept {intercept:g} give no Hounsfield units")
    return Encoding(slope, intercept, bits, representation == 1)


def _header(dataset: FileDataset) -> Header:
    names = ("SOPInstanceUID", "PatientID", "SeriesInstanceUID")
    slice_id, patient, series = (str(dataset.get(name) or "").strip() for name in names)
    for name, value in zip(names, (slice_id, patient, series), strict=True):
        if not value:
            raise Refused("no-id", f"{name} is not given")
    origin, orientation = dataset.get("ImagePositionPatient"), dataset.get("ImageOrientationPatient")
    if origin is None or orientation is None or len(origin) != 3 or len(orientation) != 6:
        raise Refused("no-position", "ImagePositionPatient or ImageOrientationPatient is not given")
    # DICOM PS3.3 C.7.6.2.1.1: direction cosines of a row and of a column; their cross product is the slice normal.
    normal = np.cross(np.array(orientation[:3], float), np.array(orientation[3:], float))
    position = float(np.dot(np.array(origin, float), normal))
    if not abs(float(np.linalg.norm(normal)) - 1) < 0.01 or not math.isfinite(position):
        raise Refused("no-position", "ImageOrientationPatient is no pair of orthogonal directions")
    return Header(slice_id, patient, series, position)
