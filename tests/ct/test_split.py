from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ct.labels import LABELS
from ct.parameters import SplitCt
from ct.split import check_no_leak, count_parts, split, stratify
from settings.errors import BadArtifact, BadInput, BadParameter, PipelineError
from settings.loader import read_section

FIVE = SplitCt(seed=0, folds=5, fold=0, val_share=0.15, cnn_share=0.5)


def tables(patients: int = 120, slices: int = 8, epidural: int = 30, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """An index and labels: each patient has some of five bleeds, on some slices."""
    random = np.random.default_rng(seed)
    has = random.random((patients, 5)) < 0.3
    has[:, 0] = False
    has[random.permutation(patients)[:epidural], 0] = True
    value = (has[:, None] & (random.random((patients, slices, 5)) < 0.6)).reshape(-1, 5)
    value.reshape(patients, slices, 5)[:, 0] |= has
    owner = np.repeat([f"p{n:04d}" for n in range(patients)], slices)
    ids = [f"{n:05d}" for n in range(len(owner))]
    columns: dict[str, Any] = {"id": ids}
    columns |= {name: value[:, number].astype(np.uint8) for number, name in enumerate(LABELS[:-1])}
    columns["any"] = value.any(axis=1).astype(np.uint8)
    return pa.table({"id": ids, "patient": owner}), pa.table(columns)


def patients_of(parts: pa.Table, part: str, half: str = "") -> set[str]:
    return {r["patient"] for r in parts.to_pylist() if r["part"] == part and half in ("", r["half"])}


def test_parts_have_their_shares_and_every_label_and_no_patient_twice() -> None:
    index, labels = tables()
    result = split(index, labels, FIVE)
    groups = [
        patients_of(result.parts, part, half)
        for part, half in (("train", "cnn"), ("train", "head"), ("val", ""), ("test", ""))
    ]
    assert [len(group) for group in groups] == pytest.approx([40.8, 40.8, 14.4, 24], abs=1)
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 120
    owner = dict(zip(index["id"].to_pylist(), index["patient"].to_pylist(), strict=True))
    for name in LABELS:
        positive = {owner[row["id"]] for row in labels.to_pylist() if row[name]}
        for group, share in zip(groups, (0.34, 0.34, 0.12, 0.2), strict=True):
            assert len(positive & group) == pytest.approx(share * len(positive), abs=3)
    assert not result.warnings


def test_files_hold_the_slices_of_their_part() -> None:
    index, labels = tables(40)
    result = split(index, labels, FIVE)
    part = {row["id"]: row["part"] for row in result.parts.to_pylist()}
    assert result.parts["id"].to_pylist() == index["id"].to_pylist()
    assert result.train_ids["id"].to_pylist() == [id_ for id_, name in part.items() if name == "train"]
    truth = {row["id"]: row for row in labels.to_pylist()}
    assert sum(table.num_rows for table in result.labels.values()) == len(truth)
    for name, table in result.labels.items():
        for row in table.to_pylist():
            assert part[row["id"]] == name and row == truth[row["id"]]
    assert "half" not in result.train_ids.column_names and LABELS[0] not in result.parts.column_names


def test_the_order_of_rows_changes_nothing_but_the_order() -> None:
    index, labels = tables(40)
    random = np.random.default_rng(5)
    shuffled = split(
        index.take(random.permutation(index.num_rows)), labels.take(random.permutation(labels.num_rows)), FIVE
    )
    straight = split(index, labels, FIVE)
    assert {r["id"]: r for r in shuffled.parts.to_pylist()} == {r["id"]: r for r in straight.parts.to_pylist()}


def test_folds_take_turns_as_test_and_another_seed_deals_otherwise() -> None:
    index, labels = tables(50)
    tests = [
        patients_of(split(index, labels, FIVE.model_copy(update={"fold": fold})).parts, "test") for fold in range(5)
    ]
    assert sum(len(test) for test in tests) == len(set.union(*tests)) == 50
    assert patients_of(split(index, labels, FIVE.model_copy(update={"seed": 1})).parts, "test") != tests[0]


@pytest.mark.parametrize("epidural", [5, 6, 8, 11])
def test_a_rare_label_is_in_every_part_when_its_patients_are_enough(epidural: int) -> None:
    for seed in range(4):
        index, labels = tables(60, epidural=epidural, seed=seed)
        assert not split(index, labels, FIVE).warnings


def test_a_label_of_too_few_patients_is_named() -> None:
    index, labels = tables(60, epidural=1)
    warnings = split(index, labels, FIVE).warnings
    assert len(warnings) == 3 and all(warning.startswith("epidural: no patient in ") for warning in warnings)


def test_big_series_do_not_empty_a_part_of_slices() -> None:
    """Five patients with 36 slices among eighteen with one: no part may get only the small ones."""
    weight = np.array([36] * 5 + [1] * 18)
    part = stratify([str(n) for n in range(23)], np.zeros((23, 6), bool), weight, [0.8, 0.2], "x")
    assert weight[part == 1].sum() / weight.sum() == pytest.approx(0.2, abs=0.03)


def test_slices_without_labels_belong_to_their_patients_part_and_unlabelled_patients_to_none() -> None:
    index, labels = tables(40)
    gone = {"00000", *(f"{n:05d}" for n in range(320 - 8, 320))}  # a slice of p0000, all slices of p0039
    known = labels.filter(pa.array([id_ not in gone for id_ in labels["id"].to_pylist()]))
    result = split(index, known, FIVE)
    rows = {row["id"]: row for row in result.parts.to_pylist()}
    assert rows["00000"]["part"] == rows["00001"]["part"] != "unlabelled"
    assert rows["00319"] == {"id": "00319", "patient": "p0039", "part": "unlabelled", "half": ""}
    in_files = {id_ for table in result.labels.values() for id_ in table["id"].to_pylist()}
    assert in_files == set(known["id"].to_pylist())
    assert "00319" not in result.train_ids["id"].to_pylist()
    assert count_parts(result)[-1][:4] == ("unlabelled", "1", "8", "0")


def test_labels_of_other_slices_and_empty_parts_are_errors() -> None:
    index, labels = tables(40)
    other = labels.set_column(0, "id", pa.array([f"x{n}" for n in range(320)]))
    with pytest.raises(BadInput, match=r"prepare_ct\.ids"):
        split(index, other, FIVE)
    few = index.slice(0, 24), labels
    with pytest.raises(BadParameter, match="no patient is left for"):
        split(*few, FIVE)


def test_a_patient_in_two_parts_is_a_leak() -> None:
    index, labels = tables(40)
    parts = split(index, labels, FIVE).parts
    check_no_leak(parts)
    rows = parts.to_pylist()
    test = next(n for n, row in enumerate(rows) if row["part"] == "test")
    with pytest.raises(BadArtifact, match="leak"):
        check_no_leak(pa.Table.from_pylist([*rows[:test], {**rows[test], "part": "val"}, *rows[test + 1 :]]))
    train = next(n for n, row in enumerate(rows) if row["half"] == "cnn")
    with pytest.raises(BadArtifact, match=r"train (cnn|head) and train (cnn|head)"):
        check_no_leak(pa.Table.from_pylist([*rows[:train], {**rows[train], "half": "head"}, *rows[train + 1 :]]))
    with pytest.raises(BadArtifact, match="twice"):
        check_no_leak(pa.concat_tables([parts, parts]))


def test_counts_of_the_log_by_hand() -> None:
    index, labels = tables(40)
    result = split(index, labels, FIVE)
    rows = {row[0]: row for row in count_parts(result)}
    head = patients_of(result.parts, "train", "head")
    owner = dict(zip(index["id"].to_pylist(), index["patient"].to_pylist(), strict=True))
    hits = [owner[row["id"]] for row in labels.to_pylist() if row["subdural"] and owner[row["id"]] in head]
    assert rows["train head"][1:4] == (str(len(head)), str(8 * len(head)), str(8 * len(head)))
    assert rows["train head"][4 + LABELS.index("subdural")] == f"{len(set(hits))}/{len(hits)}"


def test_impossible_parameters_are_refused() -> None:
    good = FIVE.model_dump()
    for wrong in ({"fold": 5}, {"folds": 1}, {"val_share": 0.0}, {"cnn_share": 1.0}):
        with pytest.raises(PipelineError, match="split_ct"):
            read_section(SplitCt, {**good, **wrong}, "split_ct")
