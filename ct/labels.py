"""RSNA's label CSV in its long form, six rows a slice (`ID_<slice>_<subtype>,<0|1>`) → one row a slice."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from corpus.manifest import short_hash
from settings.errors import BadInput

LABELS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
COLUMNS = ["ID", "Label"]


def read_labels(content: bytes, hashed: bool) -> tuple[pa.Table, dict[str, int]]:
    """The labelled slices of a long CSV, and what was odd in it.

    The table has `id` (string; the hash of the slice's ID if `hashed`) and the six LABELS (uint8, 0 or 1), in order of
    id whatever the order of the rows. A slice is labelled only if it has all six subtypes and none of them twice with
    different values. Counted: rows, slices, labelled, duplicate_rows (repeat an equal row; dropped), conflicting_slices
    and incomplete_slices (left unlabelled), any_differs (`any` is not the maximum of the five; kept as it is).
    Raises BadInput for another header, a subtype that is not known, a label that is not 0 or 1.
    """
    table = _parse(content)
    if not table.num_rows:
        raise BadInput("label CSV: has a header but no row; check local.yaml: raw.labels")
    stems, subtypes = _cut(table.column("ID").combine_chunks())
    names = subtypes.dictionary.to_pylist()
    if unknown := [name for name in names if name not in LABELS]:
        raise BadInput(f"label CSV: unknown subtype '{unknown[0][:32]}'; known: {', '.join(LABELS)}")
    column = np.array([LABELS.index(name) for name in names])[subtypes.indices.to_numpy()]
    values = table.column("Label").to_numpy()
    given = ~np.isnan(values)
    if not np.isin(values[given], (0, 1)).all():
        raise BadInput(
            f"label CSV: a label is {values[given][~np.isin(values[given], (0, 1))][0]:g}; 0 or 1 is expected"
        )

    count = len(stems.dictionary)
    cell = stems.indices.to_numpy().astype(np.int64) * len(LABELS) + column
    times = np.bincount(cell[given], minlength=count * len(LABELS)).reshape(count, -1)
    ones = np.bincount(cell[given], values[given], minlength=count * len(LABELS)).reshape(count, -1).astype(np.int64)
    agrees = (ones == 0) | (ones == times)
    conflicting = ~agrees.all(axis=1)
    incomplete = (times == 0).any(axis=1) & ~conflicting
    whole = ~conflicting & ~incomplete
    label = (ones > 0)[whole].astype(np.uint8)
    report = {
        "rows": table.num_rows,
        "slices": count,
        "labelled": int(whole.sum()),
        "duplicate_rows": int((times - 1).clip(0)[agrees].sum()),
        "conflicting_slices": int(conflicting.sum()),
        "incomplete_slices": int(incomplete.sum()),
        "any_differs": int((label[:, -1] != label[:, :-1].max(axis=1)).sum()) if len(label) else 0,
    }
    ids = stems.dictionary.filter(pa.array(whole))
    if hashed:
        ids = pa.array([short_hash(id_) for id_ in ids.to_pylist()], pa.string())
    sorted_rows = pc.sort_indices(ids).to_numpy()
    columns: dict[str, Any] = {"id": ids.take(pa.array(sorted_rows))}
    for number, name in enumerate(LABELS):
        columns[name] = pa.array(label[sorted_rows, number])
    return pa.table(columns), report


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
    parts = pc.split_pattern(ids, "_", max_splits=1, reverse=True)
    uncut = pc.not_equal(pc.list_value_length(parts), 2)
    if pc.any(uncut).as_py():
        raise BadInput(
            f"label CSV: the ID '{ids.filter(uncut)[0].as_py()[:40]}' is no 'ID_<slice>_<subtype>'; mend the row"
        )
    flat = parts.flatten()
    stems, subtypes = (flat.take(pa.array(np.arange(first, len(flat), 2))) for first in (0, 1))
    return stems.dictionary_encode(), subtypes.dictionary_encode()
