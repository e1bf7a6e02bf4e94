"""Headers as `predict` reads them: an answer needs less than a split does."""

import math
from pathlib import Path
from typing import Any

import pytest

from ct.dicom import Refused, read_headers
from tests.ct.files import flat, write_dicom


@pytest.mark.parametrize("patient", [None, "", "  "])
def test_an_answer_needs_no_patient(tmp_path: Path, patient: str | None) -> None:
    """PatientID is of type 2: exports without names leave it empty."""
    path = write_dicom(tmp_path / "a.dcm", flat(0), PatientID=patient)
    (named,) = read_headers(write_dicom(tmp_path / "named/a.dcm", flat(0)))
    (header,) = read_headers(path, lenient=True)
    assert header._replace(known=named.known, extent=None) == named._replace(patient="")
    with pytest.raises(Refused, match="no-id: PatientID is not given"):
        read_headers(path)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_an_answer_needs_slice_and_series(tmp_path: Path, name: str) -> None:
    tags: dict[str, Any] = {name: None}
    with pytest.raises(Refused, match=f"no-id: {name} is not given"):
        read_headers(write_dicom(tmp_path / "a.dcm", flat(0), **tags), lenient=True)


@pytest.mark.parametrize(
    ("name", "normal"), [("ImagePositionPatient", (0.0, -1.0, 0.0)), ("ImageOrientationPatient", (0.0, 0.0, 1.0))]
)
def test_an_answer_needs_no_place_but_each_slice_is_alone(
    tmp_path: Path, name: str, normal: tuple[float, float, float]
) -> None:
    """Coronal slices stay coronal where that is known."""
    tags: dict[str, Any] = {"ImageOrientationPatient": ["1", "0", "0", "0", "0", "1"], name: None}
    paths = [write_dicom(tmp_path / f"{letter}.dcm", flat(0), **tags) for letter in "ab"]
    first, second = (read_headers(path, lenient=True)[0] for path in paths)
    assert math.isnan(first.position) and first.normal == normal
    assert first.series != second.series
    with pytest.raises(Refused, match="no-position"):
        read_headers(paths[0])


def test_a_place_that_cannot_be_is_refused_also_for_an_answer(tmp_path: Path) -> None:
    each: list[dict[str, Any]] = [
        {"ImagePositionPatient": ["0", "0", "nan"]},
        {"ImageOrientationPatient": ["1", "0", "0"] * 2},
    ]
    for tags in each:
        with pytest.raises(Refused, match="no-position"):
            read_headers(write_dicom(tmp_path / "a.dcm", flat(0), **tags), lenient=True)


def test_an_answer_has_cautions_and_a_corpus_none(tmp_path: Path) -> None:
    tags: dict[str, Any] = {
        "ContrastBolusAgent": "Omnipaque",
        "ConvolutionKernel": ["Hr64h", "3"],
        "SliceThickness": "0.75",
    }
    path = write_dicom(tmp_path / "a.dcm", flat(0), **tags, BodyPartExamined="ROUTINE")
    (header,) = read_headers(path, lenient=True)
    assert (
        header.warnings == ("body-part", "contrast", "sharp-kernel")
        and header.extent
        and header.extent.thickness == 0.75
    )
    (plain,) = read_headers(path)
    assert plain.warnings == ("body-part",) and plain.extent is None
    assert plain.known == header.known
