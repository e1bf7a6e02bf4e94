"""Is a file a CT slice that may be of a head: by modality, SOP class, image type and body part, where they are given.

The header alone decides: slices through the vertex, the skull base or a head after an operation look unlike heads.
"""

import re
from collections.abc import Container, Mapping
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from ct.pixels import Refused

Values = Mapping[str, Any] | Dataset  # by keyword
CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
MODALITIES = ("CR", "DX", "ECG", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN",
              "RTSTRUCT", "SC", "SEG", "SM", "SR", "US", "XA")  # fmt: skip
SCOUTS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM"}
SCREENS = {"SCREEN SAVE", "DOSE_INFO", "DOSE INFO"}
# Parts of DICOM's defined terms (PS3.16 annex L) and of what is typed in their place.
HEAD = re.compile(
    r"HEAD|BRAIN|SKULL|CRANI|CEREBR|FACE|FACIAL|ORBIT|SINUS|TEMPORAL|MASTOID|PITUITARY|SELLA|MAXILLA|\bI?EAR"
)
OTHER = re.compile(
    r"CHEST|THORA|LUNG|HEART|CARDI|CORONARY|BREAST|ABD|LIVER|KIDNEY|PANCREAS|SPLEEN|COLON|BLADDER|PROSTATE|UTERUS|AORTA"
    r"|PELVI|SPINE|CERVICAL|LUMB|SACR|COCCYX|NECK|SHOULDER|CLAVICLE|SCAPULA|STERNUM|\bRIBS?\b|HUMERUS|ELBOW|WRIST"
    r"|\bHIPS?\b|FEMUR|KNEE|TIBIA|ANKLE|EXTREMIT|\bARMS?\b|\bHANDS?\b|\bLEGS?\b|\bFOOT\b|\bFEET\b|FINGER|\bTOES?\b"
)

# Words of ImageType, beside DERIVED, of slices that were computed from others.
COMPUTED = {"MPR", "CPR", "MIP", "MINIP", "MAX_IP", "MIN_IP", "MEAN_IP", "REFORMATTED", "AVERAGE", "PROJECTION IMAGE"}
# Kernels for bone and lung: words, Siemens' H60s … Ur77, Canon's FC30-35, FC50-59 and FC80-89, Philips' YA-YE.
SHARP = re.compile(r"BONE|EDGE|LUNG|(?!FC)[A-Z]{1,2}[6-9]\d[A-Z]*$|FC(3[0-5]|5\d|8\d)$|Y[A-E]$")


def check_kind(dataset: Values) -> None:
    """Refused for what is no CT slice, or of another part of the body."""
    modality = str(dataset.get("Modality") or "").strip()
    if modality != "CT":
        raise Refused("not-ct", f"modality is {told(modality, MODALITIES)}")
    kind = UID(str(dataset.get("SOPClassUID") or ""))
    if kind and kind not in CLASSES:
        raise Refused(
            "not-ct", f"SOP class is {kind.name if kind.name != str(kind) else 'an unknown one'}, no CT image"
        )
    types = _words(dataset.get("ImageType"))
    if types & SCOUTS:
        raise Refused("localizer", f"ImageType says {min(types & SCOUTS)}: a scout view, no slice")
    if types & SCREENS:
        raise Refused("screen", f"ImageType says {min(types & SCREENS)}: a picture of a screen, no slice")
    part = _part(dataset)
    other = OTHER.search(part)
    if other and not HEAD.search(part):
        raise Refused("not-head", f"BodyPartExamined has {other[0]}")


def told(value: str, words: Container[str]) -> str:
    """A value for a message, if it is a known word: of a damaged file it could be a name."""
    return "not given" if not value else value if value in words else "an unknown one"


def is_unknown_part(dataset: Values) -> bool:
    """Whether a body part is given of which nothing is known."""
    part = _part(dataset)
    return bool(part) and not HEAD.search(part)


def cautions(dataset: Values, kernel: Any) -> tuple[str, ...]:
    """contrast: an agent was given; reformatted: the slice was computed from others (projection, reformation);
    sharp-kernel: it was reconstructed for bone or lung. `kernel`: the value of ConvolutionKernel.
    """
    types = _words(dataset.get("ImageType"))
    agent = _words(dataset.get("ContrastBolusAgent")) - {"", "NO", "NONE", "N"}
    found = {
        "contrast": bool(agent or dataset.get("ContrastBolusAgentSequence")),
        "reformatted": "DERIVED" in types and bool(types & COMPUTED),
        "sharp-kernel": any(SHARP.match(word) for word in _words(kernel)),
    }
    return tuple(word for word, is_so in found.items() if is_so)


def _words(value: Any) -> set[str]:
    """The values of a tag that has one or several, in capitals."""
    several = [value] if isinstance(value, str) else value or []
    return {str(word).strip().upper() for word in several}


def _part(dataset: Values) -> str:
    return re.sub(r"[^A-Z]+", " ", str(dataset.get("BodyPartExamined") or "").upper()).strip()
