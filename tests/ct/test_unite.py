import random

from ct.unite import unite


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
