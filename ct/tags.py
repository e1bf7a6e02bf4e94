"""The bytes of a DICOM file → its transfer syntax, the values of the tags that are read, and where its pixels lie.

The file's parts are read here and not by `pydicom.dcmread`: it would inflate whatever a deflated file asks for, and
copy the pixels. Values of the usual kinds are converted here too, since pydicom takes ten times as long for it.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from ct.pixels import Refused

HEADER_MOST = 2**23  # bytes up to the pixels; 1,000 frames of an enhanced CT take 2**21
DEFLATED_MOST = 2**27  # bytes that a deflated file may inflate to
META = 132  # where the meta information starts
PIXEL_DATA = 0x7FE00010
PIXELS = frozenset((0x7FE00008, 0x7FE00009, PIXEL_DATA))  # of floating point, and of 16 bits
LONG = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
NAMES = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "BodyPartExamined", "PatientID", "StudyInstanceUID",
    "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel",
    "PhotometricInterpretation", "Rows", "Columns", "PixelSpacing", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "LossyImageCompression", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip
# For flags alone: where one is damaged, it is as if it were not given.
ADVICE = ("SliceThickness", "ContrastBolusAgent", "ContrastBolusAgentSequence", "ConvolutionKernel")
# Tag → its name and value representation (PS3.6).
TAGS = {int(tag): (name, dictionary_VR(tag)) for name in NAMES if (tag := tag_for_keyword(name)) is not None}
ADVISING = {int(tag): (name, dictionary_VR(tag)) for name in ADVICE if (tag := tag_for_keyword(name)) is not None}
WANTED: list[BaseTag | int] = [BaseTag(tag) for tag in TAGS]
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


class File(NamedTuple):
    """The parts of a file."""

    syntax: UID
    values: Mapping[str, Any]  # of the NAMES (and ADVICE) that are there, as pydicom gives them
    body: bytes  # what follows the file's meta information, inflated; the whole file if it is not deflated
    start: int  # in `body`, of the pixels' value; -1 if there are none
    length: int


def parse(content: bytes, advice: bool = False) -> File:
    """Read a file's tags up to its pixels. `content` may be its beginning only: then `start` may be -1, or it raises
    one of DAMAGED. `advice`: those of ADVICE too.
    """
    if content[128:META] != b"DICM":
        raise Refused("not-dicom", "has no DICOM preamble")
    syntax, at = _meta(content)
    body = content
    if syntax == DeflatedExplicitVRLittleEndian:
        body, at = _inflate(content[at:]), 0
    met: list[tuple[str | None, int]] = []

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag in PIXELS:
            met.append((vr, length) if tag == PIXEL_DATA else ("", 0))
            return True
        return False

    file = io.BytesIO(body[:HEADER_MOST])  # no copy of what is shorter
    file.seek(at)
    implicit = syntax == ImplicitVRLittleEndian
    wanted = [*WANTED, *map(BaseTag, ADVISING)] if advice else WANTED
    dataset = read_dataset(file, implicit, syntax != ExplicitVRBigEndian, stop_when=stop, specific_tags=wanted)
    if not met and len(body) > HEADER_MOST:
        raise Refused("too-large", f"has more than {HEADER_MOST // 2**20} MiB before the pixels")
    values = _values(dataset)
    if not met or met[0][0] == "":
        return File(syntax, values, body, -1, 0)
    vr, length = met[0]
    return File(syntax, values, body, file.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8), length)


@contextmanager
def reading() -> Iterator[None]:
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


def _meta(content: bytes) -> tuple[UID, int]:
    """The transfer syntax, which the meta information (group 2, explicit little endian) names, and where that ends."""
    at, syntax = META, b""
    while content[at : at + 2] == b"\x02\x00":
        element, vr, length = struct.unpack_from("<H2sH", content, at + 2)
        at += 8
        if vr in LONG:
            (length,) = struct.unpack_from("<I", content, at)
            at += 4
        if element == 0x0010:
            syntax = content[at : at + length]
        at += length
    return UID(syntax.decode("ascii").rstrip(" \0")), at


def _inflate(content: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(content, DEFLATED_MOST)
    if inflater.unconsumed_tail:
        raise Refused("too-large", f"inflates to more than {DEFLATED_MOST // 2**20} MiB")
    return body


def _values(dataset: Dataset) -> dict[str, Any]:
    values = {}
    for element in dataset.values():
        if found := TAGS.get(element.tag):
            name, vr = found
            plain = _plain(element, vr)
            values[name] = dataset[element.tag].value if plain is None else plain
        elif found := ADVISING.get(element.tag):
            with suppress(*DAMAGED):
                values[found[0]] = dataset[element.tag].value
    return values


def _plain(element: DataElement | RawDataElement, vr: str) -> Any:
    """The value of an element of a usual kind, as pydicom converts it; None for all others, which are left to it."""
    value = element.value
    if not isinstance(element, RawDataElement) or not value or element.VR not in (None, vr):
        return None
    if vr == "US":
        return int.from_bytes(value, "little" if element.is_little_endian else "big") if len(value) == 2 else None
    # Not ASCII, or with an escape, it depends on the file's character set.
    if vr not in ("CS", "DS", "LO", "UI") or not value.isascii() or b"\x1b" in value:
        return None
    text = value.decode("ascii").rstrip(" \0")
    if vr == "DS":
        numbers = [float(number) for number in text.split("\\")] if text else []
        return numbers if len(numbers) > 1 else numbers[0] if numbers else None
    return None if not text or "\\" in text else text
