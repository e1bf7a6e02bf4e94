"""Parameters of small phantom sets."""

from typing import Any

from ct.labels import LABELS
from ct.phantom_parameters import PhantomCt
from settings.loader import read_section

SHARES = dict.fromkeys(LABELS[:-1], 0.2)
NONE = dict.fromkeys(("truncated", "glitch", "other_size", "duplicate_positions", "metal", "duplicate_rows"), 0)
DECLARED: dict[str, Any] = {
    "seed": 4,
    "patients": 6,
    "slices": 2,
    "slice_mm": 5,
    "any_share": 0.6,
    "subtype_shares": SHARES,
    "bleeds": {
        "radius_mm": {
            "epidural": 22,
            "intraparenchymal": 12,
            "intraventricular": 26,
            "subarachnoid": 22,
            "subdural": 27,
        },
        "radius_log_sd": 0.5,
        "ages": {"acute": 0.6, "mixed": 0.2, "subacute": 0.1, "chronic": 0.1},
    },
    "mimic_share": 0.9,
    "tilt": 22,
    "noise": 3.1,
    "cupping": 14,
    "model_side": 96,
    "kinds": {"implicit": 0.4, "explicit": 0.1, "high_intercept": 0.1, "padded": 0.2, "decimal": 0.2},
    "oddities": {**NONE, "truncated": 1, "duplicate_rows": 2},
}


def phantom_parameters(**changed: object) -> PhantomCt:
    """DECLARED, but for what is given."""
    return read_section(PhantomCt, {**DECLARED, **changed}, "phantom_ct")
