"""Tiny DICOM files made by hand, with RSNA's tags."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

SIDE = 64


def write_dicom(path: Path, stored: npt.NDArray[Any], syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> Path:
    """`stored`: the pixels' 16-bit patterns. Further arguments set tags; None leaves one out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(
        str(path),
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    values: dict[str, Any] = {
        "SOPInstanceUID": f"ID_{path.stem}", "Modality": "CT", "PatientID": "ID_pat", "SeriesInstanceUID": "ID_ser",
        "StudyInstanceUID": "ID_stu", "ImagePositionPatient": ["-125.0", "-125.0", "42.5"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": stored.shape[0], "Columns": stored.shape[1],
        "PixelSpacing": ["0.488281", "0.488281"], "BitsAllocated": 16, "BitsStored": 16, "HighBit": None,
        "PixelRepresentation": 1, "WindowCenter": ["00036", "00036"], "WindowWidth": ["00080", "00080"],
        "RescaleIntercept": "-1024", "RescaleSlope": "1",
    }  # fmt: skip
    values |= tags
    if values["HighBit"] is None and values["BitsStored"]:
        values["HighBit"] = values["BitsStored"] - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RSNA's `ID_…` are no valid UIDs
        for name, value in values.items():
            if value is not None:
                setattr(dataset, name, value)
        dataset.PixelData = stored.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return path


def flat(value: int) -> npt.NDArray[np.uint16]:
    """A slice of one stored value, negative ones as two's complement."""
    return np.full((SIDE, SIDE), value & 0xFFFF, np.uint16)


def real_slices() -> list[Path]:
    """Real slices below SCOPEFORMER_TEST_DATA, or the test is skipped."""
    root = os.environ.get("SCOPEFORMER_TEST_DATA")
    if not root or not (Path(root) / "rsna").is_dir():
        pytest.skip("SCOPEFORMER_TEST_DATA names no folder with rsna/: nothing was tried on real slices")
    return sorted((Path(root) / "rsna").rglob("*.dcm"))
