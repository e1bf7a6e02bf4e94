"""Damaged DICOM files against the reader: each must give slices or a typed refusal. `fuzz.py FIRST COUNT`.

A mutation is a function of its number alone. Before each the number is written to stdout, so that the last one is the
culprit when the process is killed: by the alarm after SECONDS, for memory, or by a fault in a codec.
"""

import collections
import json
import random
import resource
import signal
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

sys.path.insert(0, str(Path(__file__).parents[2]))
from corpus.windows import Window
from ct.convert import Forms, convert
from ct.dicom import Header, Refused, Slice, is_unchanged, read_headers, read_known, read_slice
from ct.scan import known_of
from tests.ct.files import compressed, write_dicom

SECONDS = 10
FORMS = Forms((Window(40, 80), Window(80, 200), Window(600, 2800)), (16,), 32)
MEMORY = 1 << 30  # bytes on top of what the process has when it starts
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
CODED = (RLELossless, JPEGLossless, JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000, HTJ2K)


def seeds(folder: Path) -> list[bytes]:
    """Sound files, 64 × 80 pixels, in every form that is read."""
    y, x = np.mgrid[:64, :80]
    noise = np.random.default_rng(0).integers(0, 30, (64, 80))
    stored = (2000 + 800 * np.sin(x / 9) + 500 * np.cos(y / 7) + noise).astype(np.uint16)
    tags: dict[str, Any] = {"BitsStored": 12, "PixelRepresentation": 0, "PixelPaddingValue": 0}
    inner = pydicom.Dataset()
    inner.CodeValue = "1"
    for _ in range(3):
        outer = pydicom.Dataset()
        outer.RequestAttributesSequence = [inner, inner]
        inner = outer
    tags["RequestAttributesSequence"] = [inner]
    files = [write_dicom(folder / "a.dcm", stored, syntax, **tags).read_bytes() for syntax in PLAIN]
    for syntax in CODED:
        frames = [compressed(stored, syntax, 12)]
        files.append(write_dicom(folder / "a.dcm", stored, syntax, frames, **tags).read_bytes())
    groups = []
    for number in range(2):
        place, group = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = [0, 0, number]
        group.PlanePositionSequence = [place]
        groups.append(group)
    tags |= {"NumberOfFrames": 2, "SOPClassUID": EnhancedCTImageStorage, "PerFrameFunctionalGroupsSequence": groups}
    two = np.stack([stored, stored])
    files.append(write_dicom(folder / "a.dcm", two, **tags).read_bytes())
    frames = [compressed(stored, JPEGLSLossless, 12)] * 2
    files.append(write_dicom(folder / "a.dcm", two, JPEGLSLossless, frames, **tags).read_bytes())
    return files


def mutated(number: int, files: list[bytes]) -> bytes:
    """Mutation `number` of one of the files."""
    chance = random.Random(number)
    whole = chance.choice(files)
    at = 144 + int.from_bytes(whole[140:144], "little")
    inflate = DeflatedExplicitVRLittleEndian.encode() + b"\0" in whole[:at] and chance.random() < 0.8
    content = bytearray(whole[:at] + zlib.decompress(whole[at:], -zlib.MAX_WBITS) if inflate else whole)
    start = content.rfind(b"\xe0\x7f\x10\x00") if b"\xe0\x7f\x10\x00" in content else len(content) // 2
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        low, high = chance.choice(((132, start), (start, start + 150), (132, len(content))))
        place = chance.randrange(min(low, len(content) - 1), max(min(high, len(content)), low + 1))
        kind = chance.randrange(8)
        if kind < 3:
            content[place % len(content)] ^= 1 << chance.randrange(8)
        elif kind == 3:
            content[place % len(content)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 4:
            big = chance.choice(
                (b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\xff\xff", b"\0\0\0\0")
            )
            content[place : place + len(big)] = big
        elif kind == 5:
            content[place:place] = content[place : place + chance.randrange(1, 200)] * chance.choice((1, 2, 50))
        elif kind == 6:
            del content[place : place + chance.randrange(1, 60)]
        elif chance.random() < 0.5:
            del content[place:]
        else:
            other = chance.choice(files)
            content[place:] = other[chance.randrange(len(other)) :]
        if len(content) < 200:
            break
    if inflate:
        return bytes(content[:at]) + zlib.compress(bytes(content[at:]), 1, -zlib.MAX_WBITS)
    return bytes(content)


def outcome(content: bytes, path: Path) -> str:
    """The rule by which a file is refused, or "slice"; AssertionError if it is neither."""
    path.write_bytes(content)
    try:
        headers = read_headers(path)
        assert headers and all(isinstance(header, Header) and header.id for header in headers)
        for header in headers[:3]:
            slice_ = read_slice(content, header.frame)
            hu = slice_.hu()
            assert slice_.stored.dtype == np.uint16 and hu.shape == slice_.stored.shape and min(hu.shape) >= 64
            assert np.isfinite(hu).all() and hu.min() >= -1024
            _as_prepared(content, header, slice_)
    except Refused as refused:
        assert "ID_" not in str(refused) and "\n" not in str(refused)
        return refused.rule
    return "slice"


def _as_prepared(content: bytes, header: Header, slice_: Slice) -> None:
    """The same by what the header pass left, as a table keeps it, in all forms of a corpus."""
    head, start, native = header.known
    known = known_of(head, start, json.dumps(native) if native else "")
    assert is_unchanged(content, known)
    if known.native:
        again = read_known(content, known.start, known.native, header.frame)
        assert np.array_equal(again.stored, slice_.stored) and again[1:] == slice_[1:]
    converted = convert(slice_, FORMS)
    assert {side: image.shape for side, image in converted.images.items()} == {16: (16, 16, 4), 32: (32, 32, 4)}
    assert len(converted.pixels) in (0, 16)


def main(first: int, count: int) -> None:
    found: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        files = seeds(Path(folder))
        assert [outcome(content, Path(folder) / "a.dcm") for content in files] == ["slice"] * len(files)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        for number in range(first, first + count):
            print(number, flush=True)
            signal.alarm(SECONDS)
            found[outcome(mutated(number, files), Path(folder) / "a.dcm")] += 1
            signal.alarm(0)
    print(json.dumps(dict(found.most_common())))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
