"""One DICOM file → whose slices it has, where they lie, and their pixels; or the reason why not.

Pixels are kept as the 16-bit patterns that the file stores; `ct.pixels` turns them into Hounsfield units by a table,
`ct.codecs` decodes compressed ones. `ct.tags` reads the tags. What a header says of uncompressed pixels is kept, so
that they are read without a second look at the tags; a hash tells whether these are still the same.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from xxhash import xxh3_64_intdigest

from ct.codecs import COMPRESSED, LOSSY, NATIVE, Stored, decode, read_native
from ct.head import cautions, check_kind, is_unknown_part, told
from ct.pixels import FLOOR, GLITCH_INTERCEPT, Encoding, Refused, Slice, hu_table, repaired
from ct.tags import DAMAGED, File, parse, reading

__all__ = [
    "FLOOR", "UNSIGNED_0", "Encoding", "Header", "Known", "Native", "Refused", "Slice", "frame_of", "hu_table",
    "is_unchanged", "open_file", "read_headers", "read_known", "read_slice", "repaired",
]  # fmt: skip

SMALLEST_SIDE, LARGEST_SIDE = 64, 4096
MOST_FRAMES = 10_000
FIRST_BYTES = 2**14  # of a file, for its header; more are read when it is longer
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
UNITS = ["OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT", "IU"]  # of RescaleType (PS3.3 C.11.1.1.2)
UNSIGNED_0 = "intercept-0-unsigned"  # a warning that a repaired slice is not given


class Native(NamedTuple):
    """What a header says of pixels that lie uncompressed, little endian, in the file: enough to read a frame."""

    length: int  # bytes that PixelData says it has
    frames: int
    rows: int
    columns: int
    encoding: Encoding  # before `repaired`
    pixel_spacing: tuple[float, float] | None  # mm


class Known(NamedTuple):
    """What the header pass leaves for reading the pixels."""

    head: int  # XXH3 (64 bits) of the file's bytes before `start`
    start: int  # of the pixels' value; 0 of a deflated file
    native: Native | None  # None: the file is to be parsed again


class Extent(NamedTuple):
    """How large a frame is: of `lenient` headers."""

    frames: int  # of its file
    rows: int
    columns: int
    pixel_spacing: tuple[float, float] | None  # mm
    thickness: float | None  # mm; SliceThickness


class Header(NamedTuple):
    """Whose slice it is and where it lies; identifiers as in the file, so never to be written into an artifact."""

    id: str  # SOPInstanceUID; of a multi-frame file "<SOPInstanceUID>.<frame from 1>"
    patient: str  # empty if the file has none, which `lenient` headers may
    series: str
    frame: int  # from 0; 0 of a single-frame file
    position: float  # mm along the slice normal; nan of a `lenient` header without a place
    normal: tuple[float, float, float]  # unit length, rounded to 4 digits
    kind: str  # how pixels are stored, for people: "implicit LE, 12-bit unsigned"; no identifier in it
    # Words for what is odd but no reason to refuse, see `_warnings`; of `lenient` headers also `ct.head.cautions`.
    warnings: tuple[str, ...]
    study: str  # StudyInstanceUID; empty if the file has none
    known: Known
    extent: Extent | None


def read_headers(path: Path, lenient: bool = False) -> list[Header]:
    """Identity and position of each frame of a file, its pixels unread; Refused for whatever cannot become a slice.

    `lenient`: what an answer does not need may be missing: the patient, and the place of a file's only slice,
    which is then a series of its own.
    """
    with path.open("rb", buffering=0) as file, reading():
        content, wanted = b"", FIRST_BYTES
        while True:
            content += file.read(wanted - len(content)) or b""
            whole = len(content) < wanted
            try:
                found = parse(content, lenient)
            except (*DAMAGED, OSError):
                if whole:
                    raise
            else:
                if found.start >= 0 or whole:
                    break
            wanted *= 16
        check_kind(found.values)
        stored = _check_format(found)
        start = 0 if found.syntax == DeflatedExplicitVRLittleEndian else found.start
        head = xxh3_64_intdigest(memoryview(content)[:start])
        headers = [_header(found, stored, frame, head, start, lenient) for frame in range(stored.frames)]
    if len(headers) > 1 and len({(header.position, header.normal) for header in headers}) == 1:
        raise Refused("no-position", "the frames have no positions of their own")
    return headers


def is_unchanged(content: bytes, known: Known) -> bool:
    """Whether a file (all of it) still has the header that `read_headers` read."""
    return len(content) >= known.start and xxh3_64_intdigest(memoryview(content)[: known.start]) == known.head


def read_known(content: bytes, start: int, native: Native, frame: int) -> Slice:
    """The pixels of a frame, by what its header was known to say; Refused if they are not all there."""
    rows, columns = native.rows, native.columns
    stored = read_native(Stored(content, start, native.length, native.frames, rows, columns, None), frame, "<")
    return Slice(stored, repaired(stored, native.encoding), native.pixel_spacing)


def read_slice(content: bytes, frame: int = 0) -> Slice:
    """The pixels of a frame of a file whose header passed `read_headers`; Refused if they are not all there."""
    return frame_of(open_file(content), frame)


def open_file(content: bytes) -> File:
    """A file for `frame_of`, which may then be asked for any number of frames; Refused if it is damaged."""
    with reading():
        return parse(content)


def frame_of(file: File, frame: int) -> Slice:
    """The pixels of one frame; Refused if they are not all there."""
    with reading():
        pixels = _check_format(file)
        if not 0 <= frame < pixels.frames:
            raise Refused("damaged", f"has no frame {frame + 1}")
        encoding = _encoding(file.values, frame)
        if file.syntax in COMPRESSED:
            stored = decode(pixels, frame, file.syntax, encoding.signed)
        else:
            stored = read_native(pixels, frame, ">" if file.syntax == ExplicitVRBigEndian else "<")
        return Slice(stored, repaired(stored, encoding), _spacing(file.values, frame))


def _check_format(found: File) -> Stored:
    """Where the pixels of one-channel, 16-bit slices are; Refused for all else."""
    dataset, syntax = found.values, found.syntax
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


def _encoding(dataset: Mapping[str, Any], frame: int) -> Encoding:
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


def _padding(dataset: Mapping[str, Any], signed: bool) -> tuple[int, int] | None:
    """PixelPaddingValue up to PixelPaddingRangeLimit, which may stand in either order (PS3.3 C.7.5.1.1.2)."""
    limits = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(limits[0], int):
        return None
    # Some write -2000 as 63536 and the other way round.
    whole = [
        (limit & 0xFFFF) - (0x10000 if signed and limit & 0x8000 else 0) for limit in limits if isinstance(limit, int)
    ]
    return min(whole), max(whole)


def _header(found: File, stored: Stored, frame: int, head: int, start: int, lenient: bool) -> Header:
    dataset, frames = found.values, stored.frames
    names = ("SOPInstanceUID", "PatientID", "SeriesInstanceUID")
    slice_id, patient, series = (str(dataset.get(name) or "").strip() for name in names)
    for name, value in zip(names, (slice_id, patient, series), strict=True):
        if not value and not (lenient and name == "PatientID"):
            raise Refused("no-id", f"{name} is not given")
    origin = _numbers(_value(dataset, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
    directions = _numbers(_value(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    placed = origin and directions
    if not placed:
        if not lenient or frames > 1:
            raise Refused("no-position", "ImagePositionPatient or ImageOrientationPatient is not given")
        series = f"{series}.{slice_id}"
    origin, directions = origin or [0, 0, 0], directions or [1, 0, 0, 0, 1, 0]
    # DICOM PS3.3 C.7.6.2.1.1: direction cosines of a row and of a column; their cross product is the slice normal.
    (a, b, c), (d, e, f) = directions[:3], directions[3:]
    normal = b * f - c * e, c * d - a * f, a * e - b * d
    length, position = math.hypot(*normal), sum(x * y for x, y in zip(origin, normal, strict=True))
    if not abs(length - 1) < 0.01 or not math.isfinite(position):
        raise Refused("no-position", "ImageOrientationPatient is no pair of orthogonal directions")
    position = position if placed else math.nan
    x, y, z = (round(value / length, 4) + 0.0 for value in normal)  # + 0.0: no -0.0
    encoding = _encoding(dataset, frame)
    word = NATIVE.get(found.syntax) or COMPRESSED[found.syntax][0]
    kind = f"{word}, {encoding.bits}-bit {'signed' if encoding.signed else 'unsigned'}"
    if frames > 1:
        slice_id, kind = f"{slice_id}.{frame + 1}", f"{kind}, multi-frame"
    native = None
    if found.syntax in NATIVE and found.syntax not in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        spacing = _spacing(dataset, frame)
        native = Native(found.length, frames, stored.rows, stored.columns, encoding, spacing)
    study, known = str(dataset.get("StudyInstanceUID") or "").strip(), Known(head, start, native)
    warnings, extent = _warnings(found, encoding), None
    if lenient:
        extent = Extent(frames, stored.rows, stored.columns, _spacing(dataset, frame), _thickness(dataset, frame))
        warnings += cautions(dataset, _value(dataset, frame, "CTReconstructionSequence", "ConvolutionKernel"))
    return Header(slice_id, patient, series, frame, position, (x, y, z), kind, warnings, study, known, extent)


def _warnings(found: File, encoding: Encoding) -> tuple[str, ...]:
    """body-part: an unknown one; intercept-0-unsigned: near 0 though nothing below can be stored, see `repaired`;
    padding-in-tissue: values above -500 HU are declared to be none; negative-slope; monochrome1; lossy: the
    compression is, or was once.
    """
    dataset = found.values
    odd = {
        "body-part": is_unknown_part(dataset),
        UNSIGNED_0: not encoding.signed and encoding.intercept > GLITCH_INTERCEPT,
        "lossy": found.syntax in LOSSY or str(dataset.get("LossyImageCompression") or "").strip() == "01",
        "monochrome1": dataset.get("PhotometricInterpretation") == "MONOCHROME1",
        "negative-slope": encoding.slope < 0,
        "padding-in-tissue": any(
            value * encoding.slope + encoding.intercept > -500 for value in encoding.padding or ()
        ),
    }
    return tuple(word for word, is_so in odd.items() if is_so)


def _value(dataset: Mapping[str, Any], frame: int, group: str, name: str) -> Any:
    """A value that a multi-frame file keeps for each frame, else for all of them, else where others have it."""
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    for groups, item in ((each, frame), (shared, 0)):
        if groups and item < len(groups) and (found := groups[item].get(group)) and name in found[0]:
            return found[0].get(name)
    return dataset.get(name)


def _spacing(dataset: Mapping[str, Any], frame: int) -> tuple[float, float] | None:
    """Of pixels, in mm; None if it is not given or cannot be."""
    spacing = _numbers(_value(dataset, frame, "PixelMeasuresSequence", "PixelSpacing"), 2)
    known = spacing and all(0 < mm < math.inf for mm in spacing)
    return (spacing[0], spacing[1]) if spacing and known else None


def _thickness(dataset: Mapping[str, Any], frame: int) -> float | None:
    """Of a slice, in mm; None if it is not given or cannot be."""
    value = _value(dataset, frame, "PixelMeasuresSequence", "SliceThickness")
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def _numbers(value: Any, count: int) -> list[float] | None:
    """`count` numbers of a multi-valued tag, or None if it has not as many."""
    if value is None or isinstance(value, str | float | int) or len(value) != count:
        return None
    return [float(number) for number in value]


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else "an unknown number"


def _known_name(syntax: UID) -> str:
    return syntax.name if syntax and syntax.name != str(syntax) else "an unknown transfer syntax"
