import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import keyword_for_tag

from ct.dicom import FLOOR, read_slice
from ct.phantom_dicom import (
    GLITCH,
    KINDS,
    OTHER_WINDOWS,
    Identity,
    Kind,
    draw_kind,
    identity,
    stored_pixels,
    write_slice,
)
from ct.phantom_parameters import KindShares
from tests.ct.files import real_slices

TAGS = {
    "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "StudyID",
    "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "PixelData",
}  # fmt: skip
WHO = Identity("ID_0123456ab", "ID_01234567", "ID_0123456789", "ID_abcdef0123")
SHARES = KindShares(implicit=0.4, explicit=0.08, high_intercept=0.04, padded=0.4, decimal=0.08)


@pytest.fixture
def hu() -> np.ndarray:
    values = np.full((512, 512), -1000, dtype=np.float32)
    values[100:400, 100:400] = 35.4
    values[250, 250:253] = [-1100, 1234.6, 27_000]
    return values


def write(path: Path, hu: np.ndarray, kind: Kind) -> pydicom.FileDataset:
    write_slice(path, hu, WHO, kind, (-120, -100.5, 33), (1, 0, 0, 0, 0.8, -0.6), 0.47)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        assert set(map(keyword_for_tag, dataset.keys())) == TAGS  # none converted yet: `form` needs the texts
    return dataset


def form(dataset: pydicom.FileDataset) -> tuple[Any, ...]:
    """How a file is stored: syntax, bits, sign, and the rescale and window tags as they are written."""

    def text(name: str) -> str:
        value = dataset.get_item(name).value  # raw: not yet converted
        return (value.decode() if isinstance(value, bytes) else str(value)).strip()

    words = [text(name) for name in ("RescaleIntercept", "RescaleSlope", "WindowCenter", "WindowWidth")]
    return str(dataset.file_meta.TransferSyntaxUID), dataset.BitsStored, dataset.PixelRepresentation, *words


@pytest.mark.parametrize("name", KINDS)
def test_files_are_of_rsnas_kinds(tmp_path: Path, hu: np.ndarray, name: str) -> None:
    kind = KINDS[name]
    dataset = write(tmp_path / "slice.dcm", hu, kind)
    assert dataset.file_meta.TransferSyntaxUID == ("1.2.840.10008.1.2" if kind.implicit else "1.2.840.10008.1.2.1")
    assert (dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation) == (
        (16, 15, 1) if name in ("padded", "decimal") else (12, 11, 0)
    )
    zero = 1000 if name == "high_intercept" else 1024
    pixels = dataset.pixel_array
    assert pixels[0, 0] == (-2000 if name == "padded" else zero - 1000) and pixels[200, 200] == zero + 35
    assert [dataset.ImagePositionPatient, dataset.PixelSpacing] == [[-120, -100.5, 33], [0.47, 0.47]]
    read = read_slice((tmp_path / "slice.dcm").read_bytes()).hu()
    assert read[0, 0] == (FLOOR if name == "padded" else -1000) and read[0, 256] == -1000
    assert read[250, 250:253].tolist() == [-zero, 1235, 27_000 if kind.signed else 4095 - zero]


def test_the_glitch_is_repaired_to_the_true_values(tmp_path: Path) -> None:
    """The file has no HU below 0 as it stands, and is read as what it was before."""
    true = np.linspace(-1100, 3000, 512 * 512, dtype=np.float32).reshape(512, 512).round()
    dataset = write(tmp_path / "slice.dcm", true, GLITCH)
    assert dataset.RescaleIntercept == 0 and dataset.pixel_array.min() >= 0 and dataset.pixel_array.max() == 4095
    assert (dataset.pixel_array[true >= 0] == true[true >= 0]).all()
    slice_ = read_slice((tmp_path / "slice.dcm").read_bytes())
    assert slice_.encoding.wrapped and (slice_.hu() == true.clip(-1000)).all()


@pytest.mark.parametrize("shape", [(464, 400), (400, 464)])
def test_files_need_not_be_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 1000
    dataset = write(tmp_path / "slice.dcm", values, KINDS["padded"])
    assert (dataset.Rows, dataset.Columns) == shape
    inside = dataset.pixel_array > -2000
    assert (dataset.pixel_array[inside] - 1024 == values[inside]).all() and inside[shape[0] // 2, shape[1] // 2]
    assert not inside[0, 0]


def test_headers_are_written_as_the_competitions_are(tmp_path: Path, hu: np.ndarray) -> None:
    """Against real slices: the same tags with the same representations, and every form of ours is one of theirs."""
    theirs: set[tuple[Any, ...]] = set()
    representations: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in real_slices():
            dataset = pydicom.dcmread(path, specific_tags=sorted(TAGS - {"PixelData"}))
            theirs.add(form(dataset))
            representations |= {element.keyword: element.VR for element in dataset}
    kinds = [
        Kind(**{**kind.__dict__, "window": window})
        for name, kind in KINDS.items()
        for window in (kind.window, *OTHER_WINDOWS.get(name, []))
    ]
    for kind in kinds:
        dataset = write(tmp_path / "slice.dcm", hu, kind)
        assert form(dataset) in theirs, kind
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert {e.keyword: e.VR for e in dataset if e.keyword != "PixelData"} == representations
    assert {row[:5] for row in theirs} == {form(write(tmp_path / "slice.dcm", hu, kind))[:5] for kind in kinds}


@pytest.mark.parametrize(
    ("name", "digits"), [("implicit", r"-?\d+(\.\d{1,7})?"), ("padded", r"-?\d+\.\d{6}"), ("decimal", r"-?\d+\.\d{6}")]
)
def test_positions_are_written_as_their_scanners_do(tmp_path: Path, hu: np.ndarray, name: str, digits: str) -> None:
    write_slice(tmp_path / "s", hu, WHO, KINDS[name], (-0.0, -1e-9, 1 / 3), (1, 0, 0, 0, 0.8, -0.6), 0.47)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(tmp_path / "s")
    for text in [*dataset.ImagePositionPatient, *dataset.ImageOrientationPatient]:
        assert re.fullmatch(digits, str(text)) and not str(text).startswith("-0.000000")


def test_the_same_slice_is_the_same_file(tmp_path: Path, hu: np.ndarray) -> None:
    for name in "ab":
        write_slice(tmp_path / name, hu, WHO, KINDS["implicit"], (0, 0, 0), (1, 0, 0, 0, 1, 0), 0.5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_padding_is_outside_the_circle_alone() -> None:
    pixels = stored_pixels(np.zeros((512, 512), np.float32), KINDS["padded"]).view(np.int16)
    assert np.mean(pixels == -2000) == pytest.approx(1 - np.pi / 4, abs=0.002)
    assert pixels[256, 0] == 1024


def test_kinds_come_at_their_shares() -> None:
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng, SHARES) for _ in range(2000)]
    for name, share in SHARES.model_dump().items():
        assert np.mean([kind.name == name for kind in kinds]) == pytest.approx(share, abs=0.04)
    twice = np.mean(["\\" in kind.window[0] for kind in kinds])
    assert twice == pytest.approx(0.52, abs=0.04)  # half, as measured on the competition's
    assert len({kind.window for kind in kinds if kind.name == "padded"}) == 4


def test_identifiers_have_rsnas_form_and_differ() -> None:
    found = [identity(0, patient, number) for patient in range(30) for number in range(30)]
    assert len({who.slice for who in found}) == 900 and len({who.series for who in found}) == 30
    assert [len(text) for text in found[0].__dict__.values()] == [12, 11, 13, 13]
