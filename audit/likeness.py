"""KID of translated photos to CT views, beside that of CT to itself and of the other forms of the photos."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.kid import FEW_PATIENTS, kid_floor, kid_interval

Features = npt.NDArray[np.float32]
FEW_VIEWS = 8  # in a half of the patients: below it the distance of halves is noise


def likeness(
    kinds: Mapping[str, Features], ct: Features, patients: Sequence[str], confidence: float, seed: int
) -> dict[str, Any]:
    """Distances of each form of the held-out photos (n×d) from CT views (m×d; `patients`: whose each is).

    `kinds`: by name, `ct`: CT from CT, patients disjoint (None for a single patient, and where halves of the patients
    have fewer than 8 views), each `{kid, low, high, n, patients}`; `descriptive`: too few patients for a verdict.
    """
    floor = kid_floor(ct, patients, confidence, seed)
    return {
        "kinds": {
            name: kid_interval(features, ct, patients, confidence, seed)._asdict() for name, features in kinds.items()
        },
        "ct": floor._asdict() if floor and floor.n >= FEW_VIEWS else None,
        "patients": len(set(patients)),
        "descriptive": len(np.unique(patients)) < FEW_PATIENTS,
    }
