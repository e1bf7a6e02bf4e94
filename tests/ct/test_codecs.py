from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from ct.codecs import COMPRESSED, NATIVE
from ct.dicom import Refused, read_headers, read_slice
from tests.ct.files import compressed, jpeg_lossless, write_dicom

LOSSLESS = [
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
]
ROWS, COLUMNS = 72, 96
UNSIGNED_12: dict[str, Any] = {"BitsStored": 12, "PixelRepresentation": 0}


def head() -> npt.NDArray[np.int16]:
    """HU of a disc of brain in a ring of bone, air around, noise over all."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    away = np.hypot(y - 36, x - 46)
    hu = np.where(away < 26, 35, np.where(away < 30, 1200, -1000)) + np.random.default_rng(0).normal(
        0, 8, (ROWS, COLUMNS)
    )
    return np.rint(hu).clip(-1024).astype(np.int16)


def hu_of(path: Path) -> Any:
    read_headers(path)
    return read_slice(path.read_bytes()).hu()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("signed", [False, True])
def test_a_slice_is_the_same_in_every_lossless_syntax(tmp_path: Path, syntax: UID, signed: bool) -> None:
    hu = head()
    stored = hu if signed else (hu + 1024).astype(np.uint16)
    tags = {"RescaleIntercept": "0"} if signed else UNSIGNED_12
    bits = 16 if signed else 12
    path = write_dicom(tmp_path / "a.dcm", stored, syntax, [compressed(stored, syntax, bits)], **tags)
    assert (hu_of(path) == np.maximum(hu, -1024)).all()


@pytest.mark.parametrize(("syntax", "tolerance"), [(JPEGLSNearLossless, 2), (JPEG2000, 8), (HTJ2K, 0)])
def test_lossy_syntaxes_come_near_and_say_so(tmp_path: Path, syntax: UID, tolerance: float) -> None:
    hu = head()
    stored = (hu + 1024).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, syntax, [compressed(stored, syntax, 12)], **UNSIGNED_12)
    assert np.abs(hu_of(path) - hu).max() <= tolerance
    assert read_headers(path)[0].warnings == ("lossy",)


@pytest.mark.parametrize("selection", range(1, 8))
@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_lossless_with_every_selection_value(tmp_path: Path, selection: int, bits: int) -> None:
    stored = np.random.default_rng(selection).integers(0, 1 << bits, (64, 80)).astype(np.uint16)
    tags = {"BitsStored": bits, "PixelRepresentation": 0, "RescaleIntercept": "-1024"}
    frames = [jpeg_lossless(stored, bits, selection)]
    assert (hu_of(write_dicom(tmp_path / "a.dcm", stored, JPEGLossless, frames, **tags)) == stored - 1024.0).all()


def test_signed_12_bit_patterns_keep_their_sign(tmp_path: Path) -> None:
    hu = head().clip(-2048, 2047)
    tags = {"BitsStored": 12, "RescaleIntercept": "0"}
    for syntax in (RLELossless, JPEGLossless, JPEGLSLossless):
        path = write_dicom(tmp_path / "a.dcm", hu, syntax, [compressed(hu, syntax, 12)], **tags)
        assert (hu_of(path) == np.maximum(hu, -1024)).all()


def test_a_stream_of_fewer_bits_than_the_header_says_keeps_its_sign(tmp_path: Path) -> None:
    hu = head().clip(-2048, 2047)
    patterns = hu.astype(np.uint16) & 0xFFF  # 12 bits without sign in the stream, 16 with sign in the file
    frames = [compressed(patterns, JPEG2000Lossless, 12)]
    path = write_dicom(tmp_path / "a.dcm", hu, JPEG2000Lossless, frames, RescaleIntercept="0")
    assert (hu_of(path) == pydicom.dcmread(path).pixel_array).all()
    assert (hu_of(path) == np.maximum(hu, -1024)).all()


def test_frames_are_decoded_one_by_one(tmp_path: Path) -> None:
    stored = np.stack([(head() + 1024).astype(np.uint16) + number for number in range(3)])
    frames = [compressed(one, JPEGLSLossless, 12) for one in stored]
    content = write_dicom(tmp_path / "a.dcm", stored, JPEGLSLossless, frames, NumberOfFrames=3).read_bytes()
    for number in range(3):
        assert (read_slice(content, number).stored == stored[number]).all()
    with pytest.raises(Refused, match="no frame 4"):
        read_slice(content, 3)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
def test_a_stream_cut_short_is_refused(tmp_path: Path, syntax: UID) -> None:
    stored = (head() + 1024).astype(np.uint16)
    whole = compressed(stored, syntax, 12)
    for length in (2, 30, len(whole) // 2, len(whole) - 40):
        path = write_dicom(tmp_path / "a.dcm", stored, syntax, [whole[:length]], **UNSIGNED_12)
        with pytest.raises(Refused) as refused:
            hu_of(path)
        assert refused.value.rule in ("truncated", "damaged")


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("wrong", [{"Rows": ROWS + 8}, {"Columns": 4096, "Rows": 4096}])
def test_a_stream_of_another_size_than_the_header_says_is_refused(
    tmp_path: Path, syntax: UID, wrong: dict[str, int]
) -> None:
    stored = (head() + 1024).astype(np.uint16)
    path = write_dicom(tmp_path / "a.dcm", stored, syntax, [compressed(stored, syntax, 12)], **UNSIGNED_12, **wrong)
    with pytest.raises(Refused, match=r"damaged|truncated"):
        hu_of(path)


def test_a_syntax_that_is_not_read_is_refused_by_name(tmp_path: Path) -> None:
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, UID("1.2.3.4")):
        path = write_dicom(tmp_path / "a.dcm", head(), syntax, [b"\xff\xd8\xff\xd9"])
        with pytest.raises(Refused, match=r"JPEG|unknown") as refused:
            read_headers(path)
        assert refused.value.rule == "transfer-syntax" and syntax not in NATIVE and syntax not in COMPRESSED
