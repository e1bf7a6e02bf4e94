"""One DICOM file → whose slices it has, where they lie, and their pixels; or the reason why not.

Pixels are kept as the 16-bit patterns that the file stores; `ct.pixels` turns them into Hounsfield units by a table,
`ct.codecs` decodes compressed ones. The file's parts are read here and not by `pydicom.dcmread`: it would inflate
whatever a deflated file asks for, and copy the pixels.
"""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ct.codecs import COMPRESSED, LOSSY, NATIVE, Stored, decode, read_native
from ct.head import check_kind, is_unknown_part, told
from ct.pixels import FLOOR, GLITCH_INTERCEPT, Encoding, Refused, Slice, hu_table, repaired

__all__ = ["FLOOR", "Encoding", "Header", "Refused", "Slice", "hu_table", "read_headers", "read_slice", "repaired"]

SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
MOST_FRAMES = 10_000
FIRST_BYTES = 2**14  # of a file, for its header; more are read when it is longer
HEADER_MOST = 2**23  # bytes up to the pixels; 1,000 frames of an enhanced CT take 2**21
DEFLATED_MOST = 2**27  # bytes that a deflated file may inflate to
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
UNITS = ["OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "IU"]  # of RescaleType (PS3.3 C.11.1.1.2)
PIXELS = tuple(tag_for_keyword(name) for name in ("FloatPixelData", "DoubleFloatPixelData", "PixelData"))
# What pydicom raises on bytes that are no proper DICOM, while it reads and while it converts a value.
DAMAGED = (
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    BytesLengthException,
    struct.error,
    zlib.error,
)


class Header(NamedTuple):
    """Whose slice it is and where it lies; identifiers as in the file, so never to be written into an artifact."""

    id: str  # SOPInstanceUID; of a multi-frame file "<SOPInstanceUID>.<frame from 1>"
    patient: str
    series: str
    frame: int  # from 0; 0 of a single-frame file
    position: float  # mm along the slice normal
    normal: tuple[float, float, float]  # unit length, rounded to 4 digits
    kind: str  # how pixels are stored, for people: "implicit LE, 12-bit unsigned"; no identifier in it
    warnings: tuple[str, ...]  # words for what is odd but no reason to refuse, see `_warnings`


class _File(NamedTuple):
    """The parts of a file."""

    syntax: UID
    dataset: Dataset  # up to the pixels
    body: bytes  # what follows the file's meta information, inflated
    start: int  # in `body`, of the pixels' value; -1 if there are none
    length: int


def read_headers(path: Path) -> list[Header]:
    """Identity and position of each frame of a file, its pixels unread; Refused for whatever cannot become a slice."""
    with path.open("rb") as file, _reading():
        content, wanted = b"", FIRST_BYTES
        while True:
            content += file.read(wanted - len(content))
            whole = len(content) < wanted
            try:
                found = _parse(content)
            except (*DAMAGED, OSError):
                if whole:
                    raise
            else:
                if found.start >= 0 or whole:
                    break
            wanted *= 16
        check_kind(found.dataset)
        stored = _check_format(found)
        headers = [_header(found, frame, stored.frames) for frame in range(stored.frames)]
    if len(headers) > 1 and len({(header.position, header.normal) for header in headers}) == 1:
        raise Refused("no-position", "the frames have no positions of their own")
    return headers


def read_slice(content: bytes, frame: int = 0) -> Slice:
    """The pixels of a frame of a file whose header passed `read_headers`; Refused if they are not all there."""
    with _reading():
        found = _parse(content)
        pixels = _check_format(found)
        if not 0 <= frame < pixels.frames:
            raise Refused("damaged", f"has no frame {frame + 1}")
        encoding = _encoding(found.dataset, frame)
        if found.syntax in COMPRESSED:
            stored = decode(pixels, frame, found.syntax, encoding.signed)
        else:
            stored = read_native(pixels, frame, ">" if found.syntax == ExplicitVRBigEndian else "<")
        spacing = _numbers(_value(found.dataset, frame, "PixelMeasuresSequence", "PixelSpacing"), 2)
    known = spacing and all(0 < mm < math.inf for mm in spacing)
    return Slice(stored, repaired(stored, encoding), (spacing[0], spacing[1]) if spacing and known else None)


def _parse(content: bytes) -> _File:
    """Read a file's tags up to its pixels. `content` may be its beginning only: then `start` may be -1, or it raises
    one of DAMAGED.
    """
    if content[128:132] != b"DICM":
        raise Refused("not-dicom", "has no DICOM preamble")
    file = io.BytesIO(content)
    file.seek(132)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = UID(str(meta.get("TransferSyntaxUID") or ""))
    body, at = content, file.tell()
    if syntax == DeflatedExplicitVRLittleEndian:
        body, at = _inflate(content[at:]), 0
    met: list[tuple[str | None, int]] = []

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXELS:
            met.append((vr, length) if tag == PIXELS[-1] else ("", 0))
        return tag in PIXELS

    file = io.BytesIO(body[:HEADER_MOST])  # no copy of what is shorter
    file.seek(at)
    implicit = syntax == ImplicitVRLittleEndian
    dataset = read_dataset(file, implicit, syntax != ExplicitVRBigEndian, stop_when=stop)
    if not met and len(body) > HEADER_MOST:
        raise Refused("too-large", f"has more than {HEADER_MOST // 2**20} MiB before the pixels")
    if not met or met[0][0] == "":
        return _File(syntax, dataset, body, -1, 0)
    vr, length = met[0]
    return _File(syntax, dataset, body, file.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8), length)


def _inflate(content: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(content, DEFLATED_MOST)
    if inflater.unconsumed_tail:
        raise Refused("too-large", f"inflates to more than {DEFLATED_MOST // 2**20} MiB")
    return body


@contextmanager
def _reading() -> Iterator[None]:
    """What pydicom raises becomes Refused, and it does not warn: RSNA's `ID_…` are no valid UIDs, each time anew."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DAMAGED as error:
        # Only the kind of error: its text may quote a value, and a value may be a name.
        raise Refused("damaged", f"unreadable as DICOM ({type(error).__name__})") from None
    except OSError as error:
        if error.errno is not None:  # the disk's; pydicom's own, for a sequence that is cut short, has no number
            raise
        raise Refused("damaged", "unreadable as DICOM (a sequence is cut short)") from None


def _check_format(found: _File) -> Stored:
    """Where the pixels of one-channel, 16-bit slices are; Refused for all else."""
    dataset, syntax = found.dataset, found.syntax
    if syntax not in NATIVE and syntax not in COMPRESSED:
        raise Refused("transfer-syntax", f"pixels are stored as {_known_name(syntax)}, which is not read")
    samples, photometric = dataset.get("SamplesPerPixel", 1), str(dataset.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused(
            "colour", f"{_count(samples)} samples a pixel, photometric interpretation {told(photometric, PHOTOMETRIC)}"
        )
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise Refused("no-pixels", "Rows or Columns is not given")
    if min(rows, columns) < SMALLEST_SIDE:
        raise Refused("too-small", f"{rows} × {columns} pixels")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if max(rows, columns) > LARGEST_SIDE or not 1 <= frames <= MOST_FRAMES:
        raise Refused("too-large", f"{frames} frames of {rows} × {columns} pixels are not believed")
    if found.start < 0:
        raise Refused("no-pixels", "PixelData is not given")
    table, lengths = (dataset.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"))
    offsets = (table, lengths) if isinstance(table, bytes) and isinstance(lengths, bytes) else None
    return Stored(found.body, found.start, found.length, frames, rows, columns, offsets)


def _encoding(dataset: Dataset, frame: int) -> Encoding:
    allocated, bits = dataset.get("BitsAllocated"), dataset.get("BitsStored")
    high, representation = dataset.get("HighBit"), dataset.get("PixelRepresentation")
    if allocated != 16 or not isinstance(bits, int) or not 2 <= bits <= 16 or high not in (None, bits - 1):
        found = f"{_count(allocated)} bits allocated, {_count(bits)} stored, highest bit {_count(high)}"
        raise Refused("bits", f"{found}; 16-bit pixels are read")
    if representation not in (0, 1):
        raise Refused("bits", f"pixel representation is {_count(representation)}: signed or not?")
    group = "PixelValueTransformationSequence"
    slope, intercept = (_value(dataset, frame, group, name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope in (None, "") or intercept in (None, ""):
        raise Refused("no-rescale", "rescale slope or intercept is not given, so there are no Hounsfield units")
    slope, intercept = float(slope), float(intercept)
    if not (slope and abs(slope) * 65536 + abs(intercept) < 1e9):
        raise Refused("no-rescale", f"rescale slope {slope:g} and intercept {intercept:g} give no Hounsfield units")
    unit = str(_value(dataset, frame, group, "RescaleType") or "HU").strip()
    if unit not in ("HU", "US"):  # US: not specified, which older scanners write
        raise Refused("no-rescale", f"rescale type is {told(unit, UNITS)}, not Hounsfield units")
    return Encoding(slope, intercept, bits, representation == 1, padding=_padding(dataset, representation == 1))


def _padding(dataset: Dataset, signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue up to PixelPaddingRangeLimit, which may stand in either order (PS3.3 C.7.5.1.1.2)."""
    limits = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(limits[0], int):
        return None
    # Some write -2000 as 63536 and the other way round.
    whole = [
        (limit & 0xFFFF) - (0x10000 if signed and limit & 0x8000 else 0) for limit in limits if isinstance(limit, int)
    ]
    return min(whole), max(whole)


def _header(found: _File, frame: int, frames: int) -> Header:
    dataset = found.dataset
    names = ("SOPInstanceUID", "PatientID", "SeriesInstanceUID")
    slice_id, patient, series = (str(dataset.get(name) or "").strip() for name in names)
    for name, value in zip(names, (slice_id, patient, series), strict=True):
        if not value:
            raise Refused("no-id", f"{name} is not given")
    origin = _numbers(_value(dataset, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
    directions = _numbers(_value(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if not origin or not directions:
        raise Refused("no-position", "ImagePositionPatient or ImageOrientationPatient is not given")
    # DICOM PS3.3 C.7.6.2.1.1: direction cosines of a row and of a column; their cross product is the slice normal.
    normal = np.cross(directions[:3], directions[3:])
    length, position = float(np.linalg.norm(normal)), float(np.dot(origin, normal))
    if not abs(length - 1) < 0.01 or not math.isfinite(position):
        raise Refused("no-position", "ImageOrientationPatient is no pair of orthogonal directions")
    x, y, z = (round(float(value) / length, 4) + 0.0 for value in normal)  # + 0.0: no -0.0
    encoding = _encoding(dataset, frame)
    word = NATIVE.get(found.syntax) or COMPRESSED[found.syntax][0]
    kind = f"{word}, {encoding.bits}-bit {'signed' if encoding.signed else 'unsigned'}"
    if frames > 1:
        slice_id, kind = f"{slice_id}.{frame + 1}", f"{kind}, multi-frame"
    return Header(slice_id, patient, series, frame, position, (x, y, z), kind, _warnings(found, encoding))


def _warnings(found: _File, encoding: Encoding) -> tuple[str, ...]:
    """body-part: an unknown one; intercept-0-unsigned: near 0 though nothing below can be stored, see `repaired`;
    padding-in-tissue: values above -500 HU are declared to be none; negative-slope; monochrome1; lossy: the
    compression is, or was once.
    """
    dataset = found.dataset
    odd = {
        "body-part": is_unknown_part(dataset),
        "intercept-0-unsigned": not encoding.signed and encoding.intercept > GLITCH_INTERCEPT,
        "lossy": found.syntax in LOSSY or str(dataset.get("LossyImageCompression") or "").strip() == "01",
        "monochrome1": dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        "negative-slope": encoding.slope < 0,
        "padding-in-tissue": any(
            value * encoding.slope + encoding.intercept > -500 for value in encoding.padding or ()
        ),
    }
    return tuple(word for word, is_so in odd.items() if is_so)


def _value(dataset: Dataset, frame: int, group: str, name: str) -> Any:
    """A value that a multi-frame file keeps for each frame, else for all of them, else where others have it."""
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    for groups, item in ((each, frame), (shared, 0)):
        if groups and item < len(groups) and (found := groups[item].get(group)) and name in found[0]:
            return found[0].get(name)
    return dataset.get(name)


def _numbers(value: Any, count: int) -> list[float] | None:
    """`count` numbers of a multi-valued tag, or None if it has not as many."""
    if value is None or isinstance(value, str | float | int) or len(value) != count:
        return None
    return [float(number) for number in value]


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else "an unknown number"


def _known_name(syntax: UID) -> str:
    return syntax.name if syntax and syntax.name != str(syntax) else "an unknown transfer syntax"
