"""A phantom's slice as a DICOM file of the kinds that RSNA's 2019 competition has."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

PAD = -2000  # stored by the signed kind outside the scanner's circle


@dataclass(frozen=True)
class Kind:
    """How a series is stored."""

    signed: bool  # 16-bit signed, padded outside the circle; else 12-bit unsigned
    implicit: bool  # implicit VR; only the unsigned kind has it
    twice: bool  # WindowCenter and WindowWidth have two values
    window: tuple[int, int]


@dataclass(frozen=True)
class Identity:
    """Identifiers of one slice, RSNA's form."""

    slice: str
    patient: str
    study: str
    series: str


def identity(seed: int, patient: int, number: int) -> Identity:
    """`ID_` and hexadecimal digits, 9 for a slice, 8 for a patient, 10 for study and series; the same every time."""

    def name(digits: int, *words: object) -> str:
        return "ID_" + hashlib.sha256("/".join(map(str, words)).encode()).hexdigest()[:digits]

    return Identity(
        name(9, seed, "slice", patient, number),
        name(8, seed, "patient", patient),
        name(10, seed, "study", patient),
        name(10, seed, "series", patient),
    )


def draw_kind(rng: np.random.Generator, signed_share: float) -> Kind:
    """A random kind: the signed one with the given probability, half of the others with implicit VR."""
    signed = bool(rng.random() < signed_share)
    implicit = bool(not signed and rng.random() < 0.5)
    window = [(40, 80), (36, 80), (30, 80), (35, 135)][int(rng.integers(4))]
    return Kind(signed, implicit, bool(rng.random() < 0.5), window)


def stored_pixels(hu: npt.NDArray[np.float32], kind: Kind) -> npt.NDArray[np.uint16]:
    """The 16-bit patterns for HU (side × side), with intercept -1024 and slope 1."""
    values = np.rint(hu + 1024).clip(0, 32767 if kind.signed else 4095).astype(np.int16)
    if kind.signed:
        at = np.arange(len(hu)) - (len(hu) - 1) / 2
        values[np.hypot(at[:, None], at[None, :]) > len(hu) / 2] = PAD
    return values.view(np.uint16)


def write_slice(
    path: Path,
    hu: npt.NDArray[np.float32],
    who: Identity,
    kind: Kind,
    position: tuple[float, float, float],
    orientation: tuple[float, ...],
    spacing: float,
) -> None:
    """Write one file with the 22 tags that RSNA's files have, byte for byte the same for the same arguments."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"2.25.{int(who.slice[3:], 16)}")
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if kind.implicit else ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.20190901")
    meta.ImplementationVersionName = "SCOPEFORMER"
    dataset = Dataset()
    with warnings.catch_warnings():  # `ID_…` is no valid UID; the competition's files have it all the same
        warnings.filterwarnings("ignore", "Invalid value for VR UI")
        dataset.SOPInstanceUID = who.slice
        dataset.Modality = "CT"
        dataset.PatientID = who.patient
        dataset.StudyInstanceUID = who.study
        dataset.SeriesInstanceUID = who.series
        dataset.StudyID = ""
        dataset.ImagePositionPatient = [f"{v:.6f}" for v in position]
        dataset.ImageOrientationPatient = [f"{v:.6f}" for v in orientation]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = hu.shape
        dataset.PixelSpacing = [f"{spacing:.6f}"] * 2
        dataset.BitsAllocated = 16
        dataset.BitsStored = 16 if kind.signed else 12
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(kind.signed)
        for name, value in zip(("WindowCenter", "WindowWidth"), kind.window, strict=True):
            setattr(dataset, name, [f"{value:05d}"] * 2 if kind.twice else str(value))
        dataset.RescaleIntercept = "-1024"
        dataset.RescaleSlope = "1"
        dataset.PixelData = stored_pixels(hu, kind).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        file = FileDataset(path, dataset, preamble=b"\0" * 128, file_meta=meta)
        file.save_as(path, enforce_file_format=True)
