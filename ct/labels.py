"""RSNA's label CSV in its long form, six rows a slice (`ID_<slice>_<subtype>,<0|1>`) → one row a slice.

What is odd in it is no error but a finding: a row of a table with the rule that it breaks, the slice, and a detail.
"""

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from corpus.manifest import short_hashes
from settings.errors import BadInput

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
COLUMNS = ["ID", "Label"]
FINDINGS = pa.schema([("rule", pa.string()), ("id", pa.string()), ("detail", pa.string())])


def read_labels(content: bytes, hashed: bool) -> tuple[pa.Table, pa.Table]:
    """The labelled slices of a long CSV, and what was odd in it.

    The labels have `id` (string; the hash of the slice's ID if `hashed`) and the six LABELS (uint8, 0 or 1), in order
    of id whatever the order of the rows. A slice is labelled only if it has all six subtypes and none of them twice
    with different values. The findings (FINDINGS, in order of rule and id; a rule of `ct.parameters.Rule`):
    duplicate-row (equal rows; one counts), conflicting-rows and missing-subtype (an empty label is none; the slice is
    left unlabelled), unknown-subtype (the row is ignored), any-differs (`any` is not the maximum of the five; kept as
    it is). Raises BadInput for another header, an ID that is not of this form, a label that is not 0 or 1.
    """
    table = _parse(content)
    if not table.num_rows:
        raise BadInput("label CSV: has a header but no row; check local.yaml: raw.labels")
    stems, subtypes = _cut(table.column("ID").combine_chunks())
    names = subtypes.dictionary.to_pylist()
    number = np.array([LABELS.index(name) if name in LABELS else -1 for name in names])[subtypes.indices.to_numpy()]
    values = table.column("Label").to_numpy()
    given = ~np.isnan(values)
    wrong = given & (values != 0) & (values != 1)
    if wrong.any():
        raise BadInput(f"label CSV: a label is {values[wrong][0]:g}; 0 or 1 is expected")

    count = len(stems.dictionary)
    ids = short_hashes(stems.dictionary) if hashed else stems.dictionary
    slices = stems.indices.to_numpy()
    counted = given & (number >= 0)
    cell = slices[counted].astype(np.int64) * len(LABELS) + number[counted]
    times = np.bincount(cell, minlength=count * len(LABELS)).reshape(count, -1)
    ones = np.bincount(cell[values[counted] == 1], minlength=count * len(LABELS)).reshape(count, -1)
    agrees = (ones == 0) | (ones == times)
    whole = agrees.all(axis=1) & times.all(axis=1)
    positive = ones > 0

    odd = [*_odd_slices(times, positive, agrees)]
    unknown = np.flatnonzero(number < 0)
    odd += [("unknown-subtype", slices[row], _unknown(names[subtypes.indices[row].as_py()])) for row in unknown]
    kept = ids.filter(pa.array(whole))
    by_id = _sorted(kept, hashed)
    label = positive[whole][by_id].astype(np.uint8)
    columns: dict[str, Any] = {"id": kept.take(pa.array(by_id))}
    columns |= {name: pa.array(label[:, place]) for place, name in enumerate(LABELS)}
    return pa.table(columns), find(ids, odd)


def find(ids: pa.Array, odd: Iterable[tuple[str, int, str]]) -> pa.Table:
    """Findings (FINDINGS) in order of rule and id, of rules, rows of `ids`, and details."""
    found = list(odd)
    rules, rows, details = zip(*found, strict=True) if found else ((), (), ())
    columns = [pa.array(rules, pa.string()), ids.take(pa.array(rows, pa.int64())), pa.array(details, pa.string())]
    return sort_findings([pa.table(columns, schema=FINDINGS)])


def sort_findings(tables: Iterable[pa.Table]) -> pa.Table:
    """Several tables of findings as one, in order of rule, id and detail."""
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in FINDINGS.names])


def find_unmatched(ids: pa.ChunkedArray, labelled: pa.ChunkedArray) -> pa.Table:
    """Findings for slices of the corpus (`ids`) without labels, and labels (`labelled`) without a slice.

    A label without a slice is what a subset of the files has, or one that was refused; a slice without labels is what
    the competition's test part has.
    """
    tables = []
    for rule, some, others in (("label-without-slice", labelled, ids), ("slice-without-label", ids, labelled)):
        alone = some.filter(pc.invert(pc.is_in(some, value_set=others))).combine_chunks()
        columns = [
            pa.array([rule]).take(pa.array(np.zeros(len(alone), np.int64))),
            alone,
            pa.nulls(len(alone), pa.string()),
        ]
        tables.append(pa.table(columns, schema=FINDINGS))
    return sort_findings(tables)


def _odd_slices(
    times: npt.NDArray[np.int64], positive: npt.NDArray[np.bool_], agrees: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, int, str]]:
    """Rules, rows and details, of slices × LABELS: how often each is given, whether as 1, and always as the same."""
    for row, number in np.argwhere(agrees & (times > 1)).tolist():
        yield "duplicate-row", row, f"{LABELS[number]}: {times[row, number]} equal rows"
    for row, number in np.argwhere(~agrees).tolist():
        yield "conflicting-rows", row, f"{LABELS[number]}: 0 and 1"
    lacking = times == 0
    for row in np.flatnonzero(lacking.any(axis=1)).tolist():
        yield "missing-subtype", row, f"without {_names(tuple(lacking[row].tolist()))}"
    some, stated = positive[:, :-1].any(axis=1), positive[:, -1]
    for row in np.flatnonzero(agrees.all(axis=1) & ~lacking.any(axis=1) & (some != stated)).tolist():
        yield (
            "any-differs",
            row,
            "any is 1, the five are 0" if stated[row] else f"any is 0, 1 is {_names(tuple(positive[row].tolist()))}",
        )


@cache
def _names(chosen: tuple[bool, ...]) -> str:
    return ", ".join(name for name, here in zip(LABELS, chosen, strict=True) if here)


def _unknown(word: str) -> str:
    """A word is repeated only where it is a mistyped subtype: what follows the last `_` of an ID may be anything."""
    near = difflib.get_close_matches(word, LABELS, n=1, cutoff=0.8)
    return f"'{word}', perhaps {near[0]}" if near else "unlike any subtype"


def _parse(content: bytes) -> pa.Table:
    header = content[:200].split(b"\n", 1)[0].decode("utf-8", "replace").lstrip("\ufeff").strip()
    if [name.strip('" ') for name in header.split(",")] != COLUMNS:
        raise BadInput(
            f"label CSV: its header is '{header[:80]}', expected '{','.join(COLUMNS)}' (RSNA's stage_2_train.csv); "
            "check local.yaml: raw.labels"
        )
    options = pyarrow.csv.ConvertOptions(column_types={"ID": pa.string(), "Label": pa.float64()})
    read = pyarrow.csv.ReadOptions(column_names=COLUMNS, skip_rows=1)
    try:
        return pyarrow.csv.read_csv(pa.BufferReader(content), read_options=read, convert_options=options)
    except pa.ArrowInvalid as error:
        raise BadInput(
            f"label CSV: {' '.join(str(error).split())[:160]}; expected rows 'ID_<slice>_<subtype>,0'"
        ) from None


def _cut(ids: pa.Array) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
    """`ID_<slice>_<subtype>` cut at its last `_`."""
    flat = pc.split_pattern(ids, "_", max_splits=1, reverse=True).flatten()
    if len(flat) < 2 * len(ids):
        uncut = pc.invert(pc.match_substring(ids, "_"))
        raise BadInput(
            f"label CSV: the ID '{ids.filter(uncut)[0].as_py()[:40]}' is no 'ID_<slice>_<subtype>'; mend the row"
        )
    # Both halves at once, then told apart by number: to take every second word first costs as much again.
    words = flat.dictionary_encode()
    codes = words.indices.to_numpy()
    stems, subtypes = (_used(codes[first::2], words.dictionary) for first in (0, 1))
    return stems, subtypes


def _used(codes: npt.NDArray[np.int32], words: pa.Array) -> pa.DictionaryArray:
    """Codes into words as a dictionary array of those that occur."""
    occurs = np.zeros(len(words), bool)
    occurs[codes] = True
    place = (np.cumsum(occurs, dtype=np.int32) - 1)[codes]
    return pa.DictionaryArray.from_arrays(pa.array(place), words.filter(pa.array(occurs)))


def _sorted(ids: pa.Array, hashed: bool) -> npt.NDArray[np.int64]:
    """Rows in order of ids; hashes as the numbers that they are, in a fifth of the time."""
    if not hashed:
        return np.asarray(pc.sort_indices(ids).to_numpy())
    digits = b"".join(ids.cast(pa.binary()).to_pylist()).decode()
    return np.argsort(np.frombuffer(bytes.fromhex(digits), ">u8"), kind="stable")
