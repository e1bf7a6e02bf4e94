"""Tiny DICOM files made by hand, with RSNA's tags."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.uid import (
    HTJ2K,
    UID,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

SIDE = 64


def write_dicom(
    path: Path,
    stored: npt.NDArray[Any],
    syntax: UID = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    **tags: Any,
) -> Path:
    """`stored`: the pixels' 16-bit patterns, (frames ×) rows × columns; `frames`: they are compressed, to this.

    Further arguments set tags; None leaves one out.
    """
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
        "PhotometricInterpretation": "MONOCHROME2", "Rows": stored.shape[-2], "Columns": stored.shape[-1],
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
        if frames:
            dataset.PixelData = encapsulate(frames)
            dataset["PixelData"].is_undefined_length = True
        else:
            dataset.PixelData = stored.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
            dataset["PixelData"].VR = "OW"
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return path


def flat(value: int) -> npt.NDArray[np.uint16]:
    """A slice of one stored value, negative ones as two's complement."""
    return np.full((SIDE, SIDE), value & 0xFFFF, np.uint16)


def compressed(stored: npt.NDArray[Any], syntax: UID, bits: int = 16) -> bytes:
    """One frame (rows × columns) in a compressed transfer syntax; lossy ones at high quality.

    Signed values (int16) go signed into JPEG 2000 and, where DICOM has it so, as patterns into all others.
    """
    from imagecodecs import htj2k_encode, jpeg2k_encode, jpegls_encode

    patterns = stored.astype(np.uint16) & np.uint16((1 << bits) - 1)
    if syntax == RLELossless:
        options: dict[str, Any] = {
            "rows": stored.shape[0], "columns": stored.shape[1], "samples_per_pixel": 1, "number_of_frames": 1,
            "bits_allocated": 16, "bits_stored": 16, "pixel_representation": 0,
            "photometric_interpretation": "MONOCHROME2",
        }  # fmt: skip
        return RLELosslessEncoder.encode(patterns, **options)
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return jpeg_lossless(patterns, bits, 1)
    if syntax in (JPEGLSLossless, JPEGLSNearLossless):
        return bytes(jpegls_encode(patterns, level=2 if syntax == JPEGLSNearLossless else 0))
    if syntax in (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K):
        return bytes(htj2k_encode(stored, reversible=True))
    lossless = syntax == JPEG2000Lossless
    coded = jpeg2k_encode(
        stored, level=None if lossless else 90, codecformat="j2k", reversible=lossless, bitspersample=bits
    )
    return bytes(coded)


def jpeg_lossless(stored: npt.NDArray[np.uint16], bits: int, selection: int) -> bytes:
    """A lossless JPEG by the book (ITU-T T.81, annex H), with 5-bit codes for all 17 categories of difference."""
    x = stored.astype(np.int64)
    left, above, corner = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    left[:, 1:], above[1:], corner[1:, 1:] = x[:, :-1], x[:-1], x[:-1, :-1]
    predicted = {
        1: left, 2: above, 3: corner, 4: left + above - corner, 5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1), 7: (left + above) >> 1,
    }[selection].copy()  # fmt: skip
    predicted[0], predicted[:, 0] = left[0], above[:, 0]
    predicted[0, 0] = 1 << (bits - 1)
    words = []
    for difference in ((x - predicted) & 0xFFFF).ravel().tolist():
        value = difference - 65536 if difference > 32768 else difference
        size = abs(value).bit_length()
        words.append(format(size, "05b"))
        if 0 < size < 16:
            words.append(format(value if value > 0 else value + (1 << size) - 1, f"0{size}b"))
    text = "".join(words)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    table = bytes([0, *[0] * 4, 17, *[0] * 11, *range(17)])
    frame = bytes([bits, *x.shape[0].to_bytes(2, "big"), *x.shape[1].to_bytes(2, "big"), 1, 1, 0x11, 0])
    segments = [(0xC4, table), (0xC3, frame), (0xDA, bytes([1, 1, 0, selection, 0, 0]))]
    head = b"".join(bytes([0xFF, marker, *(len(body) + 2).to_bytes(2, "big")]) + body for marker, body in segments)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def real_slices() -> list[Path]:
    """Real slices below SCOPEFORMER_REAL_DATA, or the test is skipped."""
    root = os.environ.get("SCOPEFORMER_REAL_DATA")
    if not root or not (Path(root) / "rsna").is_dir():
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with rsna/: nothing was tried on real slices")
    return sorted((Path(root) / "rsna").rglob("*.dcm"))
