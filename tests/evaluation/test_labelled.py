from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from evaluation.labelled import Labelled, fraction_of, read_labelled
from settings.errors import BadArtifact, Skipped
from tests.evaluation.made import LABELS, make_split


def test_labels_with_their_patients(tmp_path: Path) -> None:
    make_split(tmp_path)
    split = tmp_path / "artifacts/split"
    test = read_labelled(split / "labels-test.parquet", split / "parts.parquet", "test", LABELS)
    assert test.truth.shape == (20, 6) and len(set(test.patients)) == 5 and set(test.halves) == {""}
    with pytest.raises(BadArtifact, match="not of part val"):
        read_labelled(split / "labels-test.parquet", split / "parts.parquet", "val", LABELS)


def many(patients: int = 200) -> Labelled:
    """Two slices a patient in each of two halves; every fourth patient has label 5, every tenth label 0 as well."""
    names = [f"p{n // 2:04d}" for n in range(4 * patients)]
    number = np.arange(4 * patients) // 2
    truth = np.zeros((len(names), 6), np.uint8)
    truth[::2, 5] = number[::2] % 4 == 0  # on one of the two slices
    truth[::2, 0] = number[::2] % 10 == 0
    halves = ["cnn" if n < patients else "head" for n in number]
    return Labelled([f"i{n}" for n in range(len(names))], names, halves, truth)


def test_fractions_are_nested_whole_patients_of_one_half() -> None:
    labelled = many()
    parts = [fraction_of(labelled, "cnn", share, "cnns.a.fraction") for share in (0.05, 0.1, 0.5, 1.0)]
    assert [len(set(part.patients)) for part in parts] == [10, 20, 100, 200]
    assert all(set(small.ids) < set(large.ids) for small, large in pairwise(parts))
    assert all(len(part.ids) == 2 * len(set(part.patients)) and set(part.halves) == {"cnn"} for part in parts)
    whole = [i for i, half in enumerate(labelled.halves) if half == "cnn"]
    assert parts[-1].ids == [labelled.ids[i] for i in whole]
    place = {id_: i for i, id_ in enumerate(labelled.ids)}
    assert all((part.truth == labelled.truth[[place[id_] for id_ in part.ids]]).all() for part in parts)
    assert not set(fraction_of(labelled, "head", 0.5, "x").patients) & set(parts[-1].patients)


def test_every_fraction_has_each_kind_of_patient_in_proportion() -> None:
    """Of 200 patients 20 have label 0, 40 others label 5 alone; a share has that many to within one."""
    labelled = many()
    for share in (0.05, 0.1, 0.25, 0.6):
        part = fraction_of(labelled, "cnn", share, "x")
        rare = {name for name, row in zip(part.patients, part.truth, strict=True) if row[0]}
        other = {name for name, row in zip(part.patients, part.truth, strict=True) if row[5]} - rare
        assert abs(len(rare) - 20 * share) <= 1 and abs(len(other) - 40 * share) <= 1


def test_the_patients_do_not_depend_on_the_order_of_the_slices() -> None:
    labelled = many()
    order = np.random.default_rng(1).permutation(len(labelled.ids))
    ids, patients, halves = (
        [column[i] for i in order] for column in (labelled.ids, labelled.patients, labelled.halves)
    )
    mixed = Labelled(ids, patients, halves, labelled.truth[order])
    one, other = (set(fraction_of(table, "cnn", 0.1, "x").patients) for table in (labelled, mixed))
    assert one == other


def test_fewer_than_eight_patients_are_skipped_by_name_and_a_whole_half_never() -> None:
    with pytest.raises(Skipped, match=r"cnns\.a\.fraction: 0\.01 of 200 patients is 2, fewer than 8"):
        fraction_of(many(), "cnn", 0.01, "cnns.a.fraction")
    assert len(set(fraction_of(many(5), "cnn", 1, "x").patients)) == 5
    with pytest.raises(BadArtifact, match="no labelled slice for 'val'"):
        fraction_of(many(), "", 1, "x")
