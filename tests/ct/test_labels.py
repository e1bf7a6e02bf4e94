import csv
import os
import random
from pathlib import Path

import pytest

from corpus.manifest import short_hash
from ct.labels import LABELS, read_labels
from settings.errors import BadInput


def rows_of(slice_id: str, *positive: str) -> list[str]:
    return [f"ID_{slice_id}_{name},{int(name in positive)}" for name in LABELS]


def content(*rows: str) -> bytes:
    return "\n".join(["ID,Label", *rows]).encode()


def test_six_rows_become_one_whatever_their_order() -> None:
    rows = [*rows_of("b", "subdural", "any"), *rows_of("a"), *rows_of("c", "epidural", "any")]
    random.Random(1).shuffle(rows)
    table, report = read_labels(content(*rows), hashed=False)
    assert table.to_pydict() == {
        "id": ["ID_a", "ID_b", "ID_c"],
        "epidural": [0, 0, 1], "intraparenchymal": [0, 0, 0], "intraventricular": [0, 0, 0],
        "subarachnoid": [0, 0, 0], "subdural": [0, 1, 0], "any": [0, 1, 1],
    }  # fmt: skip
    assert report == {
        "rows": 18, "slices": 3, "labelled": 3, "duplicate_rows": 0, "conflicting_slices": 0, "incomplete_slices": 0,
        "any_differs": 0,
    }  # fmt: skip
    assert {str(column.type) for column in table.columns[1:]} == {"uint8"}


def test_ids_are_hashed_as_those_of_slices() -> None:
    table, _ = read_labels(content(*rows_of("b"), *rows_of("a")), hashed=True)
    assert table.column("id").to_pylist() == sorted([short_hash("ID_a"), short_hash("ID_b")])


def test_odd_rows_are_counted_and_only_agreeing_ones_label() -> None:
    rows = [
        *rows_of("twice", "any", "subdural"), "ID_twice_any,1", "ID_twice_epidural,0",
        *rows_of("conflict", "any"), "ID_conflict_any,0",
        *rows_of("missing")[:-1],
        *rows_of("empty")[:-1], "ID_empty_any,",
        *rows_of("differs", "any"),
    ]  # fmt: skip
    table, report = read_labels(content(*rows), hashed=False)
    assert table.column("id").to_pylist() == ["ID_differs", "ID_twice"]
    assert report["duplicate_rows"] == 2 and report["conflicting_slices"] == 1
    assert report["incomplete_slices"] == 2 and report["any_differs"] == 1
    assert report["slices"] == 5 and report["labelled"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"image,label\nx,1\n", r"'image,label', expected 'ID,Label'"),
        (b"", "expected 'ID,Label'"),
        (b"ID,Label\n", "no row"),
        (content("ID_a_subdurall,1"), "unknown subtype 'subdurall'"),
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
    root = os.environ.get("SCOPEFORMER_TEST_DATA")
    if not root or not (path := Path(root) / "rsna/stage_2_train.csv").is_file():
        pytest.skip("SCOPEFORMER_TEST_DATA names no folder with rsna/stage_2_train.csv")
    plain: dict[str, dict[str, int]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            stem, _, name = row["ID"].rpartition("_")
            plain.setdefault(stem, {})[name] = int(row["Label"])
    table, report = read_labels(path.read_bytes(), hashed=False)
    assert report["labelled"] == len(plain) == table.num_rows
    assert {row.pop("id"): row for row in table.to_pylist()} == plain
