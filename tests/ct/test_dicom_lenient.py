"""Headers as `predict` reads them: an answer needs less than a split does."""

from pathlib import Path

import pytest

from ct.dicom import Refused, read_headers
from tests.ct.files import flat, write_dicom


@pytest.mark.parametrize("patient", [None, "", "  "])
def test_an_answer_needs_no_patient(tmp_path: Path, patient: str | None) -> None:
    """PatientID is of type 2: exports without names leave it empty."""
    path = write_dicom(tmp_path / "a.dcm", flat(0), PatientID=patient)
    (named,) = read_headers(write_dicom(tmp_path / "named/a.dcm", flat(0)))
    (header,) = read_headers(path, lenient=True)
    assert header._replace(known=named.known) == named._replace(patient="")
    with pytest.raises(Refused, match="no-id: PatientID is not given"):
        read_headers(path)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_an_answer_needs_slice_and_series(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match=f"no-id: {name} is not given"):
        read_headers(write_dicom(tmp_path / "a.dcm", flat(0), **{name: None}), lenient=True)
