from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.csv import write_csv

from ct.labels import LABELS
from ct.parameters import SplitCt
from ct.split import check_no_leak, count_parts, split
from settings.errors import BadArtifact, BadInput, BadParameter, PipelineError
from settings.loader import read_section

from .real_labels import label_table

FIVE = SplitCt(seed=0, hold_out_share=0, folds=5, fold=0, val_share=0.15, cnn_share=0.5, file=None, fatal=())


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
    pixels = [f"{n:016x}" for n in range(len(ids))]
    return pa.table({"id": ids, "patient": owner, "pixels": pixels, "linked": owner}), pa.table(columns)


def to_csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    write_csv(table, sink)
    return sink.getvalue().to_pybytes()


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
    alone = {patient: patient for patient in parts["patient"].to_pylist()}
    check_no_leak(parts, alone)
    rows = parts.to_pylist()
    test = next(n for n, row in enumerate(rows) if row["part"] == "test")
    with pytest.raises(BadArtifact, match="leak"):
        check_no_leak(pa.Table.from_pylist([*rows[:test], {**rows[test], "part": "val"}, *rows[test + 1 :]]), alone)
    train = next(n for n, row in enumerate(rows) if row["half"] == "cnn")
    with pytest.raises(BadArtifact, match=r"train (cnn|head) and train (cnn|head)"):
        check_no_leak(pa.Table.from_pylist([*rows[:train], {**rows[train], "half": "head"}, *rows[train + 1 :]]), alone)
    with pytest.raises(BadArtifact, match="twice"):
        check_no_leak(pa.concat_tables([parts, parts]), alone)
    both = {**alone, rows[test]["patient"]: rows[train]["patient"]}
    with pytest.raises(BadArtifact, match="share slices or series and are in two parts"):
        check_no_leak(parts, both)


def shared(index: pa.Table, *slices: tuple[int, ...]) -> pa.Table:
    """The index with the same pixels under the rows of each tuple."""
    pixels = index["pixels"].to_pylist()
    for rows in slices:
        for row in rows:
            pixels[row] = pixels[rows[0]]
    return index.set_column(2, "pixels", pa.array(pixels))


def test_patients_who_share_a_slice_stay_together_through_any_number_of_others() -> None:
    index, labels = tables(60)
    chain = [(8 * n, 8 * n + 8 + 1) for n in range(6)]  # p0000 – p0001 – … – p0006
    for seed in range(3):
        parameters = FIVE.model_copy(update={"seed": seed})
        apart, result = (split(given, labels, parameters) for given in (index, shared(index, *chain)))
        together = {(r["part"], r["half"]) for r in result.parts.to_pylist() if r["patient"] <= "p0006"}
        assert len({(r["part"], r["half"]) for r in apart.parts.to_pylist() if r["patient"] <= "p0006"}) > 1
        assert len(together) == 1
    assert [warning for warning in result.warnings if warning.startswith("7 patients (p0000, p0001, p0002, p0003 …)")]
    assert {row["rule"] for row in result.findings.to_pylist()} >= {"shared-pixels"}


def test_patients_with_one_study_or_series_stay_together_and_are_listed() -> None:
    index, labels = tables(60)
    linked = ["p0003" if patient in ("p0007", "p0050") else patient for patient in index["patient"].to_pylist()]
    for seed in range(3):
        parameters = FIVE.model_copy(update={"seed": seed})
        result = split(index.set_column(3, "linked", pa.array(linked)), labels, parameters)
        rows = [row for row in result.parts.to_pylist() if row["patient"] in ("p0003", "p0007", "p0050")]
        assert len({(row["part"], row["half"]) for row in rows}) == 1
    assert [warning for warning in result.warnings if warning.startswith("3 patients (p0003, p0007, p0050)")]
    assert [(row["rule"], row["id"]) for row in result.findings.to_pylist()] == [
        ("shared-series", "00024"), ("shared-series", "00056"), ("shared-series", "00400")
    ]  # fmt: skip
    assert "p0003, p0007, p0050" in result.findings["detail"][0].as_py()


def test_an_unlabelled_patient_who_shares_slices_is_in_no_part() -> None:
    index, labels = tables(40)
    known = labels.filter(pa.array([id_ >= "00008" for id_ in labels["id"].to_pylist()]))
    result = split(shared(index, (0, 8), (1, 16)), known, FIVE)
    assert patients_of(result.parts, "unlabelled") == {"p0000"}
    assert len({(r["part"], r["half"]) for r in result.parts.to_pylist() if r["patient"] in ("p0001", "p0002")}) == 1


def test_the_hold_out_is_the_same_for_every_seed_and_fold_and_never_in_one() -> None:
    index, labels = tables(100)
    held = FIVE.model_copy(update={"hold_out_share": 0.2})
    first = split(index, labels, held)
    out = patients_of(first.parts, "hold-out")
    assert len(out) == pytest.approx(20, abs=1)
    assert {row["patient"] for row in first.folds.to_pylist() if row["fold"] == "hold-out"} == out
    owner = dict(zip(index["id"].to_pylist(), index["patient"].to_pylist(), strict=True))
    assert {owner[id_] for id_ in first.labels["hold-out"]["id"].to_pylist()} == out
    assert not out & {owner[id_] for id_ in first.train_ids["id"].to_pylist()}
    for change in ({"seed": 7}, {"fold": 3}, {"folds": 8}):
        other = split(index, labels, held.model_copy(update=change))
        assert patients_of(other.parts, "hold-out") == out
    assert split(index, labels, FIVE).labels["hold-out"].num_rows == 0
    for name in LABELS:
        assert any(row[name] for row in first.labels["hold-out"].to_pylist())


def test_a_shipped_file_gives_the_same_split_also_in_a_larger_corpus() -> None:
    index, labels = tables(60)
    held = FIVE.model_copy(update={"hold_out_share": 0.1})
    dealt = split(index, labels, held)
    given = FIVE.model_copy(update={"file": "data/folds.csv"})
    again = split(index, labels, given, to_csv(dealt.folds))
    assert again.parts.equals(dealt.parts) and again.folds.equals(dealt.folds)
    names = pa.array([f"p1{name[1:]}" for name in index["patient"].to_pylist()])
    renamed = index.set_column(1, "patient", names).set_column(3, "linked", names)
    more, more_labels = (
        table.set_column(0, "id", pa.array([f"x{id_}" for id_ in table["id"].to_pylist()])) for table in (index, labels)
    )
    own = to_csv(pa.table({"id": more["id"], "fold": ["1"] * more.num_rows}))
    both = pa.concat_tables([renamed, more.set_column(2, "pixels", pa.array([""] * more.num_rows))])
    file = b"".join([to_csv(dealt.folds.select(["id", "fold"])), own.split(b"\n", 1)[1]])
    larger = split(both, pa.concat_tables([labels, more_labels]), given, file)
    for part in ("test", "hold-out"):
        old = {row["id"] for row in dealt.parts.to_pylist() if row["part"] == part}
        assert {row["id"] for row in larger.parts.to_pylist() if row["part"] == part} == old


@pytest.mark.parametrize("val", [True, False])
def test_parts_of_a_file_stand_and_what_they_leave_open_is_dealt(val: bool) -> None:
    index, labels = tables(40)
    words = ["hold-out"] * 3 + ["test"] * 7 + (["val"] * 10 if val else []) + ["train"] * 30
    rows = [f"p{n:04d},{words[n]}" for n in range(40)]
    parameters = FIVE.model_copy(update={"file": "data/parts.csv", "val_share": 0.25})
    result = split(index, labels, parameters, "\n".join(["patient,part", *rows]).encode())
    assert patients_of(result.parts, "hold-out") == {"p0000", "p0001", "p0002"}
    assert patients_of(result.parts, "test") == {f"p{n:04d}" for n in range(3, 10)}
    if val:
        assert patients_of(result.parts, "val") == {f"p{n:04d}" for n in range(10, 20)}
    else:
        assert len(patients_of(result.parts, "val")) == pytest.approx(30 / 4, abs=1)
    halves = [len(patients_of(result.parts, "train", half)) for half in ("cnn", "head")]
    assert halves[0] == pytest.approx(halves[1], abs=2) and sum(halves) > 15
    assert result.folds.column_names == ["patient", "id", "part"]


def test_real_patients_are_split_with_every_label_in_every_part_and_series_together() -> None:
    rows = [row for row in label_table("rsna_slice_labels.csv.gz") if row["PatientID"] and not row["note"]]
    ids = [row["SOPInstanceUID"] for row in rows]
    patients = [row["PatientID"] for row in rows]
    index = pa.table({"id": ids, "patient": patients, "pixels": [""] * len(ids), "linked": patients})
    columns: dict[str, Any] = {name: np.array([int(float(row[name])) for row in rows], np.uint8) for name in LABELS}
    result = split(index, pa.table({"id": ids, **columns}), FIVE.model_copy(update={"hold_out_share": 0.1}))
    assert not result.warnings
    place = {row["patient"]: (row["part"], row["half"]) for row in result.parts.to_pylist()}
    series: dict[str, set[str]] = {}
    for row in rows:
        series.setdefault(row["PatientID"], set()).add(row["SeriesInstanceUID"])
    assert len(series) == len(place) == 913 and sum(len(found) > 1 for found in series.values()) == 21
    for row, part in zip(rows, result.parts.to_pylist(), strict=True):
        assert (part["part"], part["half"]) == place[row["PatientID"]]
    shares = {("hold-out", ""): 0.1, ("test", ""): 0.18, ("val", ""): 0.108}
    shares |= {("train", half): 0.306 for half in ("cnn", "head")}
    for name in LABELS:
        positive = {row["PatientID"] for row in rows if float(row[name])}
        for wanted, share in shares.items():
            there = sum(place[patient] == wanted for patient in positive)
            assert there >= 1 and there == pytest.approx(share * len(positive), abs=max(2, 0.1 * len(positive) * share))


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
    for wrong in (
        {"fold": 5}, {"folds": 1}, {"val_share": 0.0}, {"cnn_share": 1.0}, {"hold_out_share": 1.0}, {"fatal": ["odd"]},
        {"file": "/etc/folds.csv"}, {"file": "../folds.csv"}, {"file": "artifacts/split/folds.csv"}, {"file": "folds"},
        {"file": "data/folds.csv", "hold_out_share": 0.1},
    ):  # fmt: skip
        with pytest.raises(PipelineError, match="split_ct"):
            read_section(SplitCt, {**good, **wrong}, "split_ct")
