from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from ct.dicom import DAMAGED, Encoding, Refused, hu_table, read_header, read_slice, repaired
from tests.ct.files import SIDE, flat, real_slices, write_dicom

UNSIGNED_12: dict[str, Any] = {"BitsStored": 12, "PixelRepresentation": 0}


def hu_of(path: Path) -> Any:
    read_header(path)
    return read_slice(path.read_bytes()).hu()


@pytest.mark.parametrize(
    ("stored", "tags", "hu"),
    [
        (1064, UNSIGNED_12, 40),
        (0, UNSIGNED_12, -1024),
        (4095, UNSIGNED_12, 3071),
        (1040, {**UNSIGNED_12, "RescaleIntercept": "-1000"}, 40),
        (1064, {}, 40),
        (1064, {"RescaleIntercept": "-1024.000000"}, 40),
        (-2000, {}, -1024),  # RSNA's pad: -3024 by the arithmetic
        (27476, {"RescaleIntercept": "-1024.000000"}, 26452),  # metal
        (-60, {"RescaleIntercept": "0"}, -60),
        (522, {"RescaleSlope": "2.0", "RescaleIntercept": "-1004.5"}, 39.5),
        (0xF000 | 1064, UNSIGNED_12, 40),  # junk above the 12 bits
        (0xA000 | 0xFF6, {"BitsStored": 12, "RescaleIntercept": "0"}, -10),  # 12 signed bits: 0xFF6 is -10
        (65000, {"PixelRepresentation": 0}, 63976),
    ],
)
def test_hounsfield_units_by_hand(tmp_path: Path, stored: int, tags: dict[str, Any], hu: float) -> None:
    values = hu_of(write_dicom(tmp_path / "a.dcm", flat(stored), **tags))
    assert values.dtype == np.float32 and values.shape == (SIDE, SIDE)
    assert (values == hu).all()


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian],
)
def test_every_uncompressed_syntax_gives_the_same(tmp_path: Path, syntax: UID) -> None:
    stored = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    assert (hu_of(write_dicom(tmp_path / "a.dcm", stored, syntax)) == stored.astype(float) - 1024).all()


def glitched(**tags: Any) -> tuple[Any, dict[str, Any]]:
    """Half air (-1000 HU, wrapped to 3096), half brain (35 HU)."""
    stored = flat(35)
    stored[: SIDE // 2] = 3096
    return stored, {**UNSIGNED_12, "RescaleIntercept": "0", **tags}


def test_the_12_bit_glitch_is_undone(tmp_path: Path) -> None:
    stored, tags = glitched()
    path = write_dicom(tmp_path / "a.dcm", stored, **tags)
    assert np.unique(hu_of(path)).tolist() == [-1000, 35]
    assert read_slice(path.read_bytes()).encoding.wrapped


@pytest.mark.parametrize(
    "tags",
    [{"RescaleIntercept": "-1000"}, {"RescaleIntercept": "-100"}, {"PixelRepresentation": 1}, {"BitsStored": 16}],
)
def test_what_only_looks_like_the_glitch_stays_as_it_is(tmp_path: Path, tags: dict[str, Any]) -> None:
    stored, tags = glitched(**tags)
    assert not read_slice(write_dicom(tmp_path / "a.dcm", stored, **tags).read_bytes()).encoding.wrapped


def test_below_one_per_cent_of_high_pixels_is_no_glitch() -> None:
    encoding = Encoding(1, 0, 12, False)
    stored = np.zeros((100, 100), np.uint16)
    stored.flat[:99] = 4000
    assert repaired(stored, encoding) == encoding
    stored.flat[:100] = 4000
    assert repaired(stored, encoding).wrapped


def test_the_table_is_shared_and_cannot_be_written() -> None:
    table = hu_table(Encoding(1, -1024, 12, False))
    assert table is hu_table(Encoding(1, -1024, 12, False))
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_identity_and_position_along_the_normal(tmp_path: Path) -> None:
    assert read_header(write_dicom(tmp_path / "0a.dcm", flat(0))) == ("ID_0a", "ID_pat", "ID_ser", 42.5)
    # Gantry tilt with cosine 0.8: the normal is (1, 0, 0) × (0, 0.8, 0.6) = (0, -0.6, 0.8).
    tilted: dict[str, Any] = {
        "ImageOrientationPatient": ["1", "0", "0", "0", "0.8", "0.6"],
        "ImagePositionPatient": ["10", "20", "30"],
    }
    assert read_header(write_dicom(tmp_path / "b.dcm", flat(0), **tilted)).position == pytest.approx(
        -0.6 * 20 + 0.8 * 30
    )


@pytest.mark.parametrize(
    ("rule", "tags"),
    [
        ("not-ct", {"Modality": "MR"}),
        ("not-ct", {"Modality": None}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("multi-frame", {"NumberOfFrames": 3}),
        ("colour", {"SamplesPerPixel": 3}),
        ("colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("not-square", {"Rows": 32}),
        ("not-square", {"Rows": None}),
        ("too-small", {"Rows": 16, "Columns": 16}),
        ("bits", {"BitsAllocated": 8}),
        ("bits", {"HighBit": 13}),
        ("bits", {"PixelRepresentation": None}),
        ("no-rescale", {"RescaleSlope": None}),
        ("no-rescale", {"RescaleIntercept": ""}),
        ("no-rescale", {"RescaleSlope": "0"}),
        ("no-position", {"ImagePositionPatient": None}),
        ("no-position", {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}),
        ("no-id", {"PatientID": ""}),
        ("no-id", {"SOPInstanceUID": None}),
        ("transfer-syntax", {"syntax": JPEG2000Lossless}),
    ],
)
def test_what_is_no_slice_is_refused_by_rule(tmp_path: Path, rule: str, tags: dict[str, Any]) -> None:
    syntax = tags.pop("syntax", None)
    path = write_dicom(tmp_path / "a.dcm", flat(0), **tags)
    if syntax:
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", syntax.encode()[:20].ljust(20, b"\0")))
    with pytest.raises(Refused) as refused:
        read_header(path)
    assert refused.value.rule == rule
    assert "ID_" not in str(refused.value)


def test_files_cut_short_or_no_dicom_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(0))
    whole = path.read_bytes()
    with pytest.raises(Refused, match="truncated"):
        read_slice(whole[:-1])
    for content in (b"", b"ID,Label\n", whole[:140], whole[:400], b"\x1f\x8b" + whole):
        path.write_bytes(content)
        with pytest.raises(Refused):
            read_header(path)


def test_a_sequence_cut_short_is_damaged_and_a_missing_file_is_the_callers(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(0), RequestAttributesSequence=[pydicom.Dataset()])
    content = path.read_bytes()
    start = content.index(b"\x40\x00\x75\x02SQ")  # an item of four bytes follows where its tag and length should be
    path.write_bytes(content[: start + 8] + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0")
    with pytest.raises(Refused, match="sequence"):
        read_header(path)
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.dcm")


def test_damaged_bytes_give_a_slice_or_a_reason(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(1064), **UNSIGNED_12)
    whole = path.read_bytes()
    header = len(whole) - 2 * SIDE * SIDE
    random = np.random.default_rng(0)
    rules = set()
    for _ in range(400):
        content = bytearray(whole)
        for place in random.integers(132, header, random.integers(1, 6)):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            hu_of(path)
        except Refused as refused:
            rules.add(refused.rule)
    assert len(rules) > 3
    assert Exception not in DAMAGED


def test_real_slices_equal_the_arithmetic_on_pydicoms_pixels() -> None:
    paths = real_slices()
    for path in paths[::5]:
        dataset = pydicom.dcmread(path)
        textbook = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(
            dataset.RescaleIntercept
        )
        assert np.array_equal(hu_of(path), np.maximum(textbook, -1024))
