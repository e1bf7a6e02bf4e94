import csv
import os
import random
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

from corpus.manifest import short_hash
from ct.labels import FINDINGS, LABELS, find_unmatched, read_labels
from ct.parameters import Rule
from settings.errors import BadInput

from .real_labels import label_table


def rows_of(slice_id: str, *positive: str) -> list[str]:
    return [f"ID_{slice_id}_{name},{int(name in positive)}" for name in LABELS]


def content(*rows: str) -> bytes:
    return "\n".join(["ID,Label", *rows]).encode()


def listed(findings: pa.Table) -> list[tuple[str, str, str]]:
    assert findings.schema == FINDINGS
    return [(row["rule"], row["id"], row["detail"]) for row in findings.to_pylist()]


def test_six_rows_become_one_whatever_their_order() -> None:
    rows = [*rows_of("b", "subdural", "any"), *rows_of("a"), *rows_of("c", "epidural", "any")]
    random.Random(1).shuffle(rows)
    table, findings = read_labels(content(*rows), hashed=False)
    assert table.to_pydict() == {
        "id": ["ID_a", "ID_b", "ID_c"],
        "epidural": [0, 0, 1], "intraparenchymal": [0, 0, 0], "intraventricular": [0, 0, 0],
        "subarachnoid": [0, 0, 0], "subdural": [0, 1, 0], "any": [0, 1, 1],
    }  # fmt: skip
    assert not listed(findings)
    assert {str(column.type) for column in table.columns[1:]} == {"uint8"}


def test_ids_are_hashed_as_those_of_slices() -> None:
    table, findings = read_labels(content(*rows_of("ä"), *rows_of("a"), *rows_of("b")[:5]), hashed=True)
    assert table.column("id").to_pylist() == sorted([short_hash("ID_ä"), short_hash("ID_a")])
    assert findings.column("id").to_pylist() == [short_hash("ID_b")]


def test_odd_rows_are_listed_and_only_agreeing_ones_label() -> None:
    rows = [
        *rows_of("twice", "any", "subdural"), "ID_twice_any,1", "ID_twice_epidural,0", "ID_twice_epidural,0",
        *rows_of("conflict", "any"), "ID_conflict_any,0", "ID_conflict_any,0",
        *rows_of("missing")[1:-1],
        *rows_of("empty")[:-1], "ID_empty_any,",
        *rows_of("differs", "any"),
        *rows_of("without", "epidural", "subdural"),
        *rows_of("more"), "ID_more_subdurall,1", "ID_more_Müller,1",
    ]  # fmt: skip
    random.Random(2).shuffle(rows)
    table, findings = read_labels(content(*rows), hashed=False)
    assert table.column("id").to_pylist() == ["ID_differs", "ID_more", "ID_twice", "ID_without"]
    assert listed(findings) == [
        ("any-differs", "ID_differs", "any is 1, the five are 0"),
        ("any-differs", "ID_without", "any is 0, 1 is epidural, subdural"),
        ("conflicting-rows", "ID_conflict", "any: 0 and 1"),
        ("duplicate-row", "ID_twice", "any: 2 equal rows"),
        ("duplicate-row", "ID_twice", "epidural: 3 equal rows"),
        ("missing-subtype", "ID_empty", "without any"),
        ("missing-subtype", "ID_missing", "without epidural, any"),
        ("unknown-subtype", "ID_more", "'subdurall', perhaps subdural"),
        ("unknown-subtype", "ID_more", "unlike any subtype"),
    ]
    assert {rule for rule, _, _ in listed(findings)} <= set(get_args(Rule))


def test_slices_and_labels_that_do_not_meet_are_listed() -> None:
    here, labelled = pa.chunked_array([["c", "a"], ["d"]]), pa.chunked_array([["a", "x", "b"]])
    assert [row[:2] for row in listed(find_unmatched(here, labelled))] == [
        ("label-without-slice", "b"), ("label-without-slice", "x"),
        ("slice-without-label", "c"), ("slice-without-label", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"image,label\nx,1\n", r"'image,label', expected 'ID,Label'"),
        (b"", "expected 'ID,Label'"),
        (b"ID,Label\n", "no row"),
        (content("ID_a_any,2"), "0 or 1"),
        (content("ID_a_any,yes"), "yes"),
        (content("any,1"), "'any'"),
        (content("ID_a_any,1,7"), "columns"),
    ],
)
def test_another_csv_is_refused_in_one_line(text: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        read_labels(text, hashed=True)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_quotes_and_windows_line_ends_are_read() -> None:
    text = b"\xef\xbb\xbf" + b'"ID","Label"\r\n' + "\r\n".join(rows_of("a", "any")).encode() + b"\r\n"
    assert read_labels(text, hashed=False)[0].column("any").to_pylist() == [1]


def test_the_real_csv_equals_a_plain_reading() -> None:
    root = os.environ.get("SCOPEFORMER_REAL_DATA")
    if not root or not (path := Path(root) / "rsna/stage_2_train.csv").is_file():
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with rsna/stage_2_train.csv")
    plain: dict[str, dict[str, int]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            stem, _, name = row["ID"].rpartition("_")
            plain.setdefault(stem, {})[name] = int(row["Label"])
    table, findings = read_labels(path.read_bytes(), hashed=False)
    assert {row.pop("id"): row for row in table.to_pylist()} == plain
    assert not listed(findings)


def test_34_thousand_real_slices_with_faults_put_in() -> None:
    """The real table of slices in the long form; 20 rows of it are known to be false, which no rule can see."""
    rows = label_table("rsna_slice_labels.csv.gz")
    good = [row for row in rows if not row["note"]]
    assert len(rows) == 34_014 and len(good) == 33_994
    long = [f"{row['SOPInstanceUID']}_{name},{int(float(row[name]))}" for row in good for name in LABELS]
    faults = [long[7], f"{long[13][:-1]}{1 - int(long[13][-1])}", "ID_0_subdurall,1"]
    random.Random(3).shuffle(long)
    long.remove(next(row for row in long if row.startswith(f"{good[5]['SOPInstanceUID']}_any")))
    table, findings = read_labels(content(*long, *faults), hashed=False)
    found = listed(findings)
    assert [(rule, id_) for rule, id_, _ in found] == [
        ("conflicting-rows", good[2]["SOPInstanceUID"]),
        ("duplicate-row", good[1]["SOPInstanceUID"]),
        *sorted([("missing-subtype", "ID_0"), ("missing-subtype", good[5]["SOPInstanceUID"])]),
        ("unknown-subtype", "ID_0"),
    ]
    assert table.num_rows == 33_992
    read = {row.pop("id"): row for row in table.to_pylist()}
    without = {good[2]["SOPInstanceUID"], good[5]["SOPInstanceUID"]}
    totals = {name: sum(int(float(row[name])) for row in good) for name in LABELS}
    assert (totals["any"], totals["epidural"], totals["intraventricular"]) == (13_001, 658, 2_836)
    for name in LABELS:
        gone = sum(int(float(row[name])) for row in good if row["SOPInstanceUID"] in without)
        assert sum(row[name] for row in read.values()) == totals[name] - gone


def test_the_false_real_labels_contradict_the_table_of_series_and_the_good_ones_do_not() -> None:
    """What the marked rows claim is not what another source says of their series: so they are left out by hand."""
    series = {
        f"ID_{id_}": row for row in label_table("rsna_series_labels_slices.csv.gz") for id_ in row["slices"].split()
    }
    wrong = {"good": 0, "false": 0}
    for row in label_table("rsna_slice_labels.csv.gz"):
        if whole := series.get(row["SOPInstanceUID"]):
            claims = any(float(row[name]) > float(whole[name]) for name in LABELS)
            wrong["false" if row["note"] else "good"] += claims
    assert wrong["good"] == 0 and wrong["false"] > 0
