import numpy as np

from audit.likeness import likeness
from evaluation.kid import kid

RANDOM = np.random.default_rng(0)


def ct(patients: int, views: int) -> tuple[np.ndarray, list[str]]:
    centres = RANDOM.normal(0, 1, (patients, 1, 5))
    rows = (centres + RANDOM.normal(0, 0.5, (patients, views, 5))).reshape(-1, 5)
    return rows.astype(np.float32), [f"p{i // views}" for i in range(len(rows))]


def test_every_form_beside_ct_from_ct() -> None:
    views, owners = ct(20, 3)
    near, far = (RANDOM.normal(shift, 1, (60, 5)).astype(np.float32) for shift in (0, 2))
    found = likeness({"near": near, "far": far}, views, owners, 0.95, 0)
    assert found["kinds"]["far"]["kid"] == kid(far, views)
    assert found["kinds"]["near"]["high"] < found["kinds"]["far"]["low"]
    assert found["ct"]["low"] < found["kinds"]["near"]["kid"] < found["ct"]["high"]
    assert found["patients"] == 20 and not found["descriptive"]


def test_few_patients_are_described_and_few_views_have_no_floor() -> None:
    images = RANDOM.normal(size=(9, 5)).astype(np.float32)
    assert likeness({"a": images}, *ct(19, 1), 0.95, 0)["descriptive"]
    assert likeness({"a": images}, *ct(16, 1), 0.95, 0)["ct"]["n"] == 8
    assert likeness({"a": images}, *ct(14, 1), 0.95, 0)["ct"] is None
