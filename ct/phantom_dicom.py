"""A phantom's slice as a DICOM file of the kinds that RSNA's 2019 competition has."""

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ct.phantom_parameters import KindShares

PAD = -2000  # stored by the padded kind outside the scanner's circle


@dataclass(frozen=True)
class Kind:
    """How a series is stored; texts are written as they stand, `\\` between two values."""

    name: str
    signed: bool  # 16-bit signed, else 12-bit unsigned
    implicit: bool  # implicit VR
    padded: bool  # PAD outside the circle
    intercept: str
    slope: str
    window: tuple[str, str]  # centre, width
    places: str  # format of positions, directions and spacings
    wrapped: bool = False  # the 12-bit glitch: values below 0 HU are 4096 too high, and the intercept says nothing


@dataclass(frozen=True)
class Identity:
    """Identifiers of one slice, RSNA's form."""

    slice: str
    patient: str
    study: str
    series: str


BRAIN_36, BRAIN_40 = ("00036\\00036", "00080\\00080"), ("00040\\00040", "00080\\00080")
KINDS = {
    "implicit": Kind("implicit", False, True, False, "-1024", "1", BRAIN_36, ".9g"),
    "explicit": Kind("explicit", False, False, False, "-1024", "1", BRAIN_40, ".9g"),
    "high_intercept": Kind("high_intercept", False, False, False, "-1000", "1", BRAIN_40, ".9g"),
    "padded": Kind("padded", True, False, True, "-1024", "1", ("30", "80"), ".6f"),
    "decimal": Kind("decimal", True, False, False, "-1024.000000", "1.000000", ("35.000000", "135.000000"), ".6f"),
}
OTHER_WINDOWS = {"padded": [("35", "100"), ("40", "150"), ("40", "85")], "explicit": [("00047\\00047", "00080\\00080")]}
# Exports with the glitch clip at -1000 HU before the values wrap: -1024 would become 3072 and pass for bone.
GLITCH = replace(KINDS["explicit"], name="glitch", intercept="0", wrapped=True)


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


def draw_kind(rng: np.random.Generator, shares: KindShares) -> Kind:
    """A random kind; a quarter of the series of a kind that comes with several windows have one of the rarer ones."""
    weights = shares.model_dump()
    name = str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))
    rare, which = rng.random() < 0.25, rng.random()
    others = OTHER_WINDOWS.get(name, [])
    return replace(KINDS[name], window=others[int(which * len(others))]) if rare and others else KINDS[name]


def stored_pixels(hu: npt.NDArray[np.float32], kind: Kind) -> npt.NDArray[np.uint16]:
    """The 16-bit patterns for HU (rows × columns), rounded; what the kind cannot hold is clipped."""
    whole = np.rint(hu).astype(np.int32)
    if kind.wrapped:
        whole = whole.clip(-1000, 3095)
        return np.where(whole < 0, whole + 4096, whole).astype(np.uint16)
    stored = (whole - int(float(kind.intercept))).clip(0, 32767 if kind.signed else 4095).astype(np.int16)
    if kind.padded:
        y, x = (np.arange(n) - (n - 1) / 2 for n in hu.shape)
        stored[np.hypot(y[:, None], x[None, :]) > max(hu.shape) / 2] = PAD
    return stored.view(np.uint16)


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

    def text(value: float) -> str:
        return format(round(value, 7) + 0.0, kind.places)  # + 0.0: no "-0"

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
        dataset.ImagePositionPatient = [text(v) for v in position]
        dataset.ImageOrientationPatient = [text(v) for v in orientation]
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = hu.shape
        dataset.PixelSpacing = [text(spacing)] * 2
        dataset.BitsAllocated = 16
        dataset.BitsStored = 16 if kind.signed else 12
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(kind.signed)
        dataset.WindowCenter, dataset.WindowWidth = (value.split("\\") for value in kind.window)
        dataset.RescaleIntercept, dataset.RescaleSlope = kind.intercept, kind.slope
        dataset.PixelData = stored_pixels(hu, kind).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        file = FileDataset(path, dataset, preamble=b"\0" * 128, file_meta=meta)
        file.save_as(path, enforce_file_format=True)
