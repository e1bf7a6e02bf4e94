import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

import ct.tags
from ct.dicom import (
    Encoding,
    Refused,
    hu_table,
    is_unchanged,
    read_headers,
    read_known,
    read_slice,
    repaired,
)
from ct.tags import NAMES, parse
from tests.ct.files import SIDE, flat, real_slices, write_dicom
from tests.ct.fuzz import seeds

UNSIGNED_12: dict[str, Any] = {"BitsStored": 12, "PixelRepresentation": 0}


def hu_of(path: Path) -> Any:
    read_headers(path)
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


@pytest.mark.parametrize(
    ("stored", "tags", "hu"),
    [
        ([1064, 500], {"PixelPaddingValue": 500}, [40, -1024]),
        ([1064, 500, 499, 498], {"PixelPaddingValue": 498, "PixelPaddingRangeLimit": 499}, [40, -524, -1024, -1024]),
        ([1064, 499, 498], {"PixelPaddingValue": 499, "PixelPaddingRangeLimit": 498}, [40, -1024, -1024]),
        ([40, -3000, 32767], {"PixelPaddingValue": 32767, "RescaleIntercept": "0"}, [40, -1024, -1024]),
        ([0xF000 | 1064, 0x8000], {**UNSIGNED_12, "PixelPaddingValue": 0x8000}, [40, -1024]),  # more than 12 bits
        ([40, 3500, 4095], {**UNSIGNED_12, "RescaleIntercept": "0", "PixelPaddingValue": 4095}, [40, -596, -1024]),
    ],
)
def test_padding_is_minus_1024(tmp_path: Path, stored: list[int], tags: dict[str, Any], hu: list[float]) -> None:
    pixels = flat(stored[0])
    for row, value in enumerate(stored):
        pixels[row] = value & 0xFFFF
    signed = tags.get("PixelRepresentation", 1)
    path = write_dicom(tmp_path / "a.dcm", pixels, **{"PixelRepresentation": signed, **tags})
    assert hu_of(path)[: len(hu), 0].tolist() == hu


def test_padding_alone_is_no_glitch() -> None:
    stored = np.where(np.arange(10_000).reshape(100, 100) < 5000, 40, 4095).astype(np.uint16)
    assert repaired(stored, Encoding(1, 0, 12, False)).wrapped
    assert not repaired(stored, Encoding(1, 0, 12, False, padding=(4095, 4095))).wrapped


def test_monochrome1_is_shown_otherwise_but_means_the_same(tmp_path: Path) -> None:
    assert (hu_of(write_dicom(tmp_path / "a.dcm", flat(1064), PhotometricInterpretation="MONOCHROME1")) == 40).all()


def test_the_table_is_shared_and_cannot_be_written() -> None:
    table = hu_table(Encoding(1, -1024, 12, False))
    assert table is hu_table(Encoding(1, -1024, 12, False))
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_identity_and_position_along_the_normal(tmp_path: Path) -> None:
    (header,) = read_headers(write_dicom(tmp_path / "0a.dcm", flat(0)))
    assert header[:6] == ("ID_0a", "ID_pat", "ID_ser", 0, 42.5, (0, 0, 1))
    assert header.kind == "explicit LE, 16-bit signed" and not header.warnings
    # Gantry tilt with cosine 0.8: the normal is (1, 0, 0) × (0, 0.8, 0.6) = (0, -0.6, 0.8).
    tilted: dict[str, Any] = {
        "ImageOrientationPatient": ["1", "0", "0", "0", "0.8", "0.6"],
        "ImagePositionPatient": ["10", "20", "30"],
    }
    (header,) = read_headers(write_dicom(tmp_path / "b.dcm", flat(0), **tilted))
    assert header.position == pytest.approx(-0.6 * 20 + 0.8 * 30) and header.normal == (0, -0.6, 0.8)


def test_a_header_longer_than_what_is_read_first(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(0), PatientComments="x" * 10_000, ImageComments="y" * 10_000)
    assert len(read_headers(path)) == 1


def frames(count: int) -> dict[str, Any]:
    """Tags of an enhanced CT: rescale shared, but for the last frame; each frame's own place, 2.5 mm apart."""

    def item(**values: Any) -> pydicom.Dataset:
        made = pydicom.Dataset()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def rescale(intercept: str) -> dict[str, Any]:
        return {"PixelValueTransformationSequence": [item(RescaleSlope="1", RescaleIntercept=intercept)]}

    each = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 2.5 * number])]) for number in range(count)]
    each[-1].PixelValueTransformationSequence = rescale("-1000")["PixelValueTransformationSequence"]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])],
        **rescale("-1024"),
    )
    return {
        "SOPClassUID": EnhancedCTImageStorage, "NumberOfFrames": count, "RescaleSlope": None, "RescaleIntercept": None,
        "ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None,
        "PerFrameFunctionalGroupsSequence": each, "SharedFunctionalGroupsSequence": [shared],
    }  # fmt: skip


def test_a_multi_frame_file_is_a_slice_for_each_frame(tmp_path: Path) -> None:
    stored = np.stack([flat(1064), flat(1065), flat(1066)])
    path = write_dicom(tmp_path / "a.dcm", stored, **frames(3))
    headers = read_headers(path)
    assert [(one.id, one.frame, one.position) for one in headers] == [
        ("ID_a.1", 0, 0), ("ID_a.2", 1, 2.5), ("ID_a.3", 2, 5)
    ]  # fmt: skip
    slices = [read_slice(path.read_bytes(), number) for number in range(3)]
    assert [np.unique(slice_.hu()).tolist() for slice_ in slices] == [[40], [41], [66]]
    assert slices[0].pixel_spacing == (0.5, 0.25)


@pytest.mark.parametrize(
    ("syntax", "known"),
    [
        (ImplicitVRLittleEndian, True),
        (ExplicitVRLittleEndian, True),
        (DeflatedExplicitVRLittleEndian, False),
        (ExplicitVRBigEndian, False),
    ],
)
def test_what_the_header_pass_knows_gives_the_same_slices(tmp_path: Path, syntax: UID, known: bool) -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 4096, (3, 70, 90)).astype(np.uint16)
    one = {**UNSIGNED_12, "PixelPaddingValue": 7, "PixelSpacing": ["0.5", "0.4"], "RescaleSlope": "1.5"}
    for pixels, tags in ((stored, frames(3)), (stored[0], one)):
        path = write_dicom(tmp_path / "a.dcm", pixels, syntax, **tags)
        content = path.read_bytes()
        for header in read_headers(path):
            found, native = header.known, header.known.native
            assert bool(native) == known and is_unchanged(content, found)
            if native:
                slice_ = read_known(content, found.start, native, header.frame)
                parsed = read_slice(content, header.frame)
                assert np.array_equal(slice_.stored, parsed.stored) and slice_[1:] == parsed[1:]
                with pytest.raises(Refused, match="truncated"):
                    read_known(content[: -pixels.nbytes // 2], found.start, native, header.frame)
            if syntax != DeflatedExplicitVRLittleEndian:
                changed = bytearray(content)
                changed[found.start - 1] ^= 1
                assert not is_unchanged(bytes(changed), found) and not is_unchanged(content[: found.start - 1], found)


def test_a_multi_frame_file_without_its_frames_places_is_refused(tmp_path: Path) -> None:
    stored = np.stack([flat(0), flat(1)])
    with pytest.raises(Refused, match="no-position"):
        read_headers(write_dicom(tmp_path / "a.dcm", stored, NumberOfFrames=2))
    with pytest.raises(Refused, match="truncated"):
        read_slice(write_dicom(tmp_path / "b.dcm", flat(0), **frames(3)).read_bytes())


def test_a_slice_need_not_be_square(tmp_path: Path) -> None:
    stored = np.arange(70 * 90, dtype=np.uint16).reshape(70, 90)
    slice_ = read_slice(write_dicom(tmp_path / "a.dcm", stored, PixelSpacing=["0.5", "0.4"]).read_bytes())
    assert (slice_.stored == stored).all() and slice_.pixel_spacing == (0.5, 0.4)
    for spacing in (None, ["0.5"], ["0", "0.5"]):
        content = write_dicom(tmp_path / "a.dcm", stored, PixelSpacing=spacing).read_bytes()
        assert read_slice(content).pixel_spacing is None


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (("body-part",), {"BodyPartExamined": "ROUTINE"}),
        ((), {"BodyPartExamined": "HEAD"}),
        (("intercept-0-unsigned",), {"PixelRepresentation": 0, "RescaleIntercept": "0"}),
        ((), {"RescaleIntercept": "0"}),
        (("lossy",), {"LossyImageCompression": "01"}),
        (("monochrome1",), {"PhotometricInterpretation": "MONOCHROME1"}),
        (("negative-slope",), {"RescaleSlope": "-1"}),
        ((), {"PixelPaddingValue": -2000}),
        (("padding-in-tissue",), {"PixelPaddingValue": 1024}),
    ],
)
def test_what_is_odd_is_told(tmp_path: Path, words: tuple[str, ...], tags: dict[str, Any]) -> None:
    assert read_headers(write_dicom(tmp_path / "a.dcm", flat(0), **tags))[0].warnings == words


@pytest.mark.parametrize(
    ("rule", "tags"),
    [
        ("not-ct", {"Modality": "MR"}),
        ("not-ct", {"Modality": None}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("not-ct", {"SOPClassUID": MultiFrameTrueColorSecondaryCaptureImageStorage}),
        ("localizer", {"ImageType": "LOCALIZER"}),
        ("screen", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        ("not-head", {"BodyPartExamined": "CHEST"}),
        ("too-large", {"NumberOfFrames": 2**31 - 1}),
        ("too-large", {"Rows": 65535, "Columns": 65535}),
        ("colour", {"SamplesPerPixel": 3}),
        ("colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("too-small", {"Rows": 32}),
        ("no-pixels", {"Rows": None}),
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
        ("no-rescale", {"RescaleSlope": "nan"}),
        ("no-rescale", {"RescaleSlope": "1e9"}),
        ("no-rescale", {"RescaleType": "Z_EFF"}),
        ("no-position", {"ImagePositionPatient": ["0", "0", "nan"]}),
    ],
)
def test_what_is_no_slice_is_refused_by_rule(tmp_path: Path, rule: str, tags: dict[str, Any]) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(0), **tags)
    with pytest.raises(Refused) as refused:
        read_headers(path)
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
            read_headers(path)


def test_a_file_that_inflates_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ct.tags, "DEFLATED_MOST", 2**24)
    monkeypatch.setattr(ct.tags, "HEADER_MOST", 2**18)
    path = write_dicom(tmp_path / "a.dcm", flat(0), DeflatedExplicitVRLittleEndian)
    whole = path.read_bytes()
    meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
    for zeros, reason in ((2**21, "before the pixels"), (2**25, "inflates")):  # zeros are tags without end
        bomb = meta + zlib.compress(bytes(zeros), 9, -zlib.MAX_WBITS)
        assert len(bomb) < 40_000
        path.write_bytes(bomb)
        with pytest.raises(Refused, match=reason):
            read_slice(bomb)
        with pytest.raises(Refused, match="too-large"):
            read_headers(path)


def test_a_sequence_cut_short_is_damaged_and_a_missing_file_is_the_callers(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", flat(0), RequestAttributesSequence=[pydicom.Dataset()])
    content = path.read_bytes()
    start = content.index(b"\x40\x00\x75\x02SQ")  # an item of four bytes follows where its tag and length should be
    path.write_bytes(content[: start + 8] + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0")
    with pytest.raises(Refused, match="sequence"):
        read_headers(path)
    with pytest.raises(FileNotFoundError):
        read_headers(tmp_path / "none.dcm")


def test_values_are_those_that_pydicom_converts(tmp_path: Path) -> None:
    """Of every sound file that the fuzz test starts from, of other character sets, and of values that are odd."""
    odd: list[dict[str, Any]] = [
        {"SpecificCharacterSet": "ISO_IR 100", "PatientID": "Müller"},
        {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientID": "山田", "BodyPartExamined": ""},
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "RescaleIntercept": " -1024.0 ", "PixelSpacing": ["0.5"]},
        {"PixelPaddingValue": -2000, "RescaleSlope": ["1", "2"], "PatientID": "a  "},
    ]
    contents = [write_dicom(tmp_path / "a.dcm", flat(0), **tags).read_bytes() for tags in odd]
    for content in (*seeds(tmp_path), *contents):
        path = tmp_path / "b.dcm"
        path.write_bytes(content)
        dataset, values = pydicom.dcmread(path), parse(content).values
        assert len(values) > 15
        for name in NAMES:
            theirs: Any = dataset.get(name)
            ours: Any = values.get(name)
            if isinstance(theirs, int) and theirs < 0:
                ours -= 0x10000 if ours > 0 else 0
            assert (theirs or None) == (ours or None), name


def test_real_slices_equal_the_arithmetic_on_pydicoms_pixels() -> None:
    paths = real_slices()
    for path in paths[::5]:
        dataset = pydicom.dcmread(path)
        textbook = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(
            dataset.RescaleIntercept
        )
        assert np.array_equal(hu_of(path), np.maximum(textbook, -1024))
