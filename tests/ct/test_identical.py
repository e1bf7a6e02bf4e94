import random

import numpy as np

from ct.identical import find_identical, unite
from ct.labels import LABELS


def test_groups_equal_those_of_a_plain_search() -> None:
    chance = random.Random(0)
    for size in (5, 40, 200):
        patients = [f"p{chance.randrange(size):03d}" for _ in range(3 * size)]
        pixels = [chance.choice(["", f"{chance.randrange(4 * size):x}"]) for _ in patients]
        found = unite(patients, pixels)
        plain = {patient: {patient} for patient in patients}
        for patient, hash_ in zip(patients, pixels, strict=True):
            for other, same in zip(patients, pixels, strict=True):
                if hash_ and hash_ == same and plain[patient] is not plain[other]:
                    plain[patient] |= plain[other]
                    for name in plain[other]:
                        plain[name] = plain[patient]
        assert found == {patient: min(group) for patient, group in plain.items()}


def test_slices_that_show_nothing_and_nobody_unite_nobody() -> None:
    assert unite(["b", "a", "c"], ["", "", "1"]) == {"a": "a", "b": "b", "c": "c"}
    assert unite([], []) == {}


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
