import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ct.dicom import FLOOR, read_header, read_slice
from ct.phantom_dicom import Identity, Kind, draw_kind, identity, stored_pixels, write_slice

TAGS = {
    "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "StudyID",
    "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "PixelData",
}  # fmt: skip
WHO = Identity("ID_0123456ab", "ID_01234567", "ID_0123456789", "ID_abcdef0123")
KINDS = [Kind(False, True, True, (36, 80)), Kind(False, False, False, (40, 80)), Kind(True, False, True, (30, 80))]


@pytest.fixture
def hu() -> np.ndarray:
    values = np.full((512, 512), -1000, dtype=np.float32)
    values[100:400, 100:400] = 35.4
    values[250, 250:253] = [-1100, 1234.6, 5000]
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_of_rsnas_kinds(tmp_path: Path, hu: np.ndarray, kind: Kind) -> None:
    path = tmp_path / "slice.dcm"
    write_slice(path, hu, WHO, kind, (-120, -100.5, 33), (1, 0, 0, 0, 0.8, -0.6), 0.47)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        assert {element.keyword for element in dataset} == TAGS
    assert dataset.file_meta.TransferSyntaxUID == ("1.2.840.10008.1.2" if kind.implicit else "1.2.840.10008.1.2.1")
    assert (dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation) == (
        (16, 15, 1) if kind.signed else (12, 11, 0)
    )
    assert dataset.WindowCenter == ([kind.window[0]] * 2 if kind.twice else kind.window[0])
    pixels = dataset.pixel_array
    assert pixels[0, 0] == (-2000 if kind.signed else 24) and pixels[200, 200] == 1059  # 35.4 + 1024, rounded
    assert str(dataset.RescaleIntercept) == "-1024"
    header = read_header(path)
    assert (header.id, header.patient, header.series) == ("ID_0123456ab", "ID_01234567", "ID_abcdef0123")
    assert header.position == pytest.approx(0.6 * -100.5 + 0.8 * 33)  # along the normal (0, 0.6, 0.8)
    read = read_slice(path.read_bytes()).hu()
    assert read[0, 0] == (FLOOR if kind.signed else -1000) and read[0, 256] == -1000
    assert read[250, 250:253].tolist() == [-1024, 1235, 5000 if kind.signed else 4095 - 1024]


def test_the_same_slice_is_the_same_file(tmp_path: Path, hu: np.ndarray) -> None:
    for name in "ab":
        write_slice(tmp_path / name, hu, WHO, KINDS[0], (0, 0, 0), (1, 0, 0, 0, 1, 0), 0.5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_padding_is_outside_the_circle_alone() -> None:
    pixels = stored_pixels(np.zeros((512, 512), np.float32), KINDS[2]).view(np.int16)
    assert np.mean(pixels == -2000) == pytest.approx(1 - np.pi / 4, abs=0.002)
    assert pixels[256, 0] == 1024


def test_kinds_come_at_their_shares() -> None:
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng, 0.25) for _ in range(2000)]
    assert np.mean([k.signed for k in kinds]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([k.implicit for k in kinds]) == pytest.approx(0.375, abs=0.05)
    assert not any(k.signed and k.implicit for k in kinds)


def test_identifiers_have_rsnas_form_and_differ() -> None:
    found = [identity(0, patient, number) for patient in range(30) for number in range(30)]
    assert len({who.slice for who in found}) == 900 and len({who.series for who in found}) == 30
    assert [len(text) for text in found[0].__dict__.values()] == [12, 11, 13, 13]
