"""Files of other people's: DICOM readers' test cases and real heads in several syntaxes."""

import csv
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import JPEGLosslessSV1

from ct.dicom import Refused, read_headers, read_slice

# Chest slices whose headers say no body part: nothing but the picture tells, and pictures are not judged.
NOT_TOLD = ("CT_small.dcm", "WG04_CT1_")
# What the first rule that is broken is, where it is not that the file is no CT.
RULES = {
    "ExplVR_BigEndNoMeta.dcm": "not-dicom",
    "ExplVR_LitEndNoMeta.dcm": "not-dicom",
    "no_meta.dcm": "not-dicom",
    "rtstruct.dcm": "not-dicom",
    "zipMR.gz": "not-dicom",
}


def cases() -> list[dict[str, str]]:
    """Rows of cases.csv, `file` as a path; `dicom_cases/` lies where `tests.ct.real_labels` looks for `labels/`."""
    root = Path(os.environ.get("SCOPEFORMER_REAL_DATA") or "missing")
    for folder in (root / "dicom_cases", (root / "imagenet").resolve().parent / "dicom_cases"):
        if (folder / "cases.csv").is_file():
            with (folder / "cases.csv").open(newline="") as file:
                return [{**row, "file": str(folder / row["file"])} for row in csv.DictReader(file)]
    pytest.skip("SCOPEFORMER_REAL_DATA has no dicom_cases/: nothing was tried on other people's files")


def test_every_case_is_read_or_refused_as_expected() -> None:
    for row in cases():
        path, refused = Path(row["file"]), row["expected"].startswith("must be refused")
        if refused:
            with pytest.raises(Refused) as error:
                read_headers(path)
            assert error.value.rule == RULES.get(path.name, "not-ct"), path.name
        else:
            assert "head" in row["expected"].split(":")[0] or path.name.startswith(NOT_TOLD)
            (header,) = read_headers(path)
            slice_ = read_slice(path.read_bytes())
            assert slice_.stored.shape == tuple(int(size) for size in row["rows_cols_frames_samples"].split("x")[:2])
            assert "lossy" in header.warnings or not path.name.endswith(("_JLSN.dcm", "_J2KI.dcm"))
            assert not slice_.encoding.wrapped  # among them a head with intercept 0


def test_one_slice_is_the_same_in_several_syntaxes() -> None:
    files = {Path(row["file"]).name: Path(row["file"]) for row in cases()}
    for slice_, lossless, near in (
        ("WG04_CT2", ("J2KR", "JLSL"), ("JLSN",)),
        ("WG04_CT1", ("J2KR", "JLSL", "JPLL"), ("JLSN",)),
    ):
        first = read_slice(files[f"{slice_}_RLE.dcm"].read_bytes()).hu()
        for syntax in lossless:
            assert np.array_equal(read_slice(files[f"{slice_}_{syntax}.dcm"].read_bytes()).hu(), first), syntax
        for syntax in near:
            assert np.abs(read_slice(files[f"{slice_}_{syntax}.dcm"].read_bytes()).hu() - first).max() <= 10


def test_cases_equal_pydicoms_own_pixels_and_rescale() -> None:
    """pydicom decodes RLE itself and JPEG 2000 by Pillow."""
    tried = 0
    for row in cases():
        if row["expected"].startswith("readable") and "JPEG-LS" not in row["transfer_syntax"]:
            dataset = pydicom.dcmread(row["file"])
            if dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1:
                continue
            textbook = np.asarray(apply_modality_lut(dataset.pixel_array, dataset), np.float64)
            assert np.array_equal(read_slice(Path(row["file"]).read_bytes()).hu(), np.maximum(textbook, -1024)), row
            tried += 1
    assert tried > 5
