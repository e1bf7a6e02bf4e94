"""A split as a file: who is in which fold or part, as `split-ct` ships it and as it may be given.

A file has a column `id` or `patient` and a column `fold` or `part`; others are ignored. An `id` is a slice's, as in the
index, as RSNA writes it (`ID_…`), or its hash; it speaks for its patient, so that one slice of each is enough, and it
holds for any corpus that has the slice. A `patient` is an ordinal ("p0001") and holds for the corpus that it was
counted in alone. A `fold` counts from 0 or is "hold-out"; a `part` is train, val, test or hold-out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv

from corpus.manifest import short_hashes
from settings.errors import BadInput

HOLD_OUT = "hold-out"
PARTS = ("train", "val", "test", HOLD_OUT)
TEXT = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(("id", "patient", "fold", "part"), pa.string()))


class Given(NamedTuple):
    """What a file says of the patients of a corpus."""

    kind: str  # "fold", "part"
    of: dict[str, str]  # group of patients → "0", "1" … or "hold-out"; or one of PARTS
    ignored: int  # rows whose slice or patient is not in the corpus


def read_folds(
    content: bytes, name: str, index: pa.Table, group: Mapping[str, str], needed: Sequence[str], folds: int
) -> Given:
    """What a CSV file (`name`: for messages) says of `group`s of patients.

    `index`: id, patient; `group`: patient → group, whose patients may not be parted; `needed`: groups that the file
    must place; one row for a patient of each is enough. Raises BadInput for a file that is no split, or not one of this
    corpus, or leaks: that lists a slice or a patient twice, or has slices of a patient, or patients that share slices
    or series, in two folds or parts.
    """
    key, kind, keys, words = _parse(content, name)
    known = {str(number) for number in range(folds)} | {HOLD_OUT} if kind == "fold" else set(PARTS)
    if wrong := next((word for word in words if word not in known), None):
        raise BadInput(f"{name}: {kind} '{wrong[:20]}' does not exist; known: {', '.join(sorted(known))}")
    found = _find_patients(keys, index) if key == "id" else _find_ordinals(keys, index)
    if not any(patient for _, patient in found):
        raise BadInput(f"{name}: no {key} in it is of this corpus ({len(keys):,} rows); is it a split of these slices?")
    place, count = next(iter(Counter(place for place, patient in found if patient).most_common(1)))
    if count > 1:
        raise BadInput(f"{name}: {key} {place} is listed {count} times; leave one row of it")
    first: dict[str, tuple[str, str]] = {}  # group → patient, word
    for (_, patient), word in zip(found, words, strict=True):
        if patient:
            other, there = first.setdefault(group[patient], (patient, word))
            if there != word:
                who = (
                    f"patient {patient} is"
                    if other == patient
                    else f"patients {other} and {patient} share slices or series and are"
                )
                raise BadInput(f"{name}: {who} in {kind} {there} and in {kind} {word}: a leak; put all into one")
    if missing := [one for one in needed if one not in first]:
        raise BadInput(
            f"{name}: places none of {len(missing)} labelled patients (first: {missing[0]}); add a row for each of them"
        )
    ignored = sum(not patient for _, patient in found)
    return Given(kind, {name: word for name, (_, word) in first.items()}, ignored)


def folds_in(content: bytes, name: str) -> set[str]:
    """The folds that a CSV file (`name`: for messages) deals patients into, without hold-out; none: it fixes parts."""
    _, kind, _, words = _parse(content, name)
    return {*words} - {HOLD_OUT} if kind == "fold" else set()


def folds_table(index: pa.Table, group: Mapping[str, str], kind: str, of: Mapping[str, str]) -> pa.Table:
    """What is shipped: `patient`, `id` (the patient's first slice, in order of ids) and `fold` or `part` (strings).

    `of`: group → fold or part; patients without a group, or of no such one, are left out.
    """
    first = index.select(["patient", "id"]).group_by("patient").aggregate([("id", "min")]).sort_by("patient")
    rows = [(patient, id_, of[group[patient]]) for patient, id_ in _pairs(first) if group.get(patient) in of]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    names = ("patient", "id", kind)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)})


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(*(table.column(name).to_pylist() for name in ("patient", "id_min")), strict=True))


def _parse(content: bytes, name: str) -> tuple[str, str, list[str], list[str]]:
    """Which columns the file has, and those two."""
    try:
        table = pyarrow.csv.read_csv(pa.BufferReader(content), convert_options=TEXT)
    except pa.ArrowInvalid as error:
        what = " ".join(str(error).partition(", got")[0].split())  # what follows is the row itself
        raise BadInput(f"{name}: is no CSV file ({what}); mend it") from None
    key = next((word for word in ("id", "patient") if word in table.column_names), None)
    kinds = [word for word in ("fold", "part") if word in table.column_names]
    if key is None or len(kinds) != 1 or not table.num_rows:
        raise BadInput(
            f"{name}: {table.num_rows} rows with the columns {', '.join(table.column_names)[:80]}; "
            "needed are id or patient, and fold or part"
        )
    return key, kinds[0], table.column(key).to_pylist(), table.column(kinds[0]).to_pylist()


def _find_patients(keys: Sequence[str], index: pa.Table) -> list[tuple[str, str | None]]:
    """Of each slice the ID as in the index (or the key) and its patient; None if the corpus has no such slice."""
    ids = index.column("id").combine_chunks()
    row: dict[str, int] = {id_: number for number, id_ in enumerate(short_hashes(ids).to_pylist())}
    row |= {id_: number for number, id_ in enumerate(ids.to_pylist())}
    hashes = short_hashes(pa.array(keys, pa.string())).to_pylist()
    rows = [row.get(key, row.get(hash_)) for key, hash_ in zip(keys, hashes, strict=True)]
    patients = index.column("patient").combine_chunks()
    return [
        (key, None) if place is None else (ids[place].as_py(), patients[place].as_py())
        for key, place in zip(keys, rows, strict=True)
    ]


def _find_ordinals(keys: Sequence[str], index: pa.Table) -> list[tuple[str, str | None]]:
    known = set(index.column("patient").unique().to_pylist())
    return [(key, key if key in known else None) for key in keys]
