import numpy as np

from ct.identical import find_identical
from ct.labels import LABELS


def test_shared_slices_are_found_by_patient_and_by_label() -> None:
    value = np.zeros((8, len(LABELS)), np.int8)
    value[1, 4] = value[1, 5] = 1  # contradicts slice 0
    value[5] = -1  # without labels: contradicts nothing
    found = find_identical(
        [f"id{n}" for n in range(8)],
        ["p1", "p1", "p1", "p2", "p3", "p3", "p4", "p4"],
        ["x", "x", "y", "y", "z", "z", "", ""],
        value,
    )
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("pixels-labelled-differently", "id0", "subdural, any; same pixels as id1"),
        ("pixels-labelled-differently", "id1", "subdural, any; same pixels as id0"),
        ("shared-pixels", "id2", "same pixels as slices of p1, p2"),
        ("shared-pixels", "id3", "same pixels as slices of p1, p2"),
    ]
