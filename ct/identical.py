"""Slices with the same pixels, and patients with the same series: what contradicts is found."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ct.labels import LABELS, find
from ct.unite import repeated


def find_identical(
    ids: Sequence[str], patients: Sequence[str], pixels: Sequence[str], value: npt.NDArray[np.int8]
) -> pa.Table:
    """Findings of `ct.labels.FINDINGS` for slices that share their pixels with others.

    shared-pixels: those of several patients; pixels-labelled-differently: those whose labels contradict. `value`:
    n×6, the LABELS of each slice, -1 where it has none.
    """
    codes, shared = repeated(pixels)
    found: list[tuple[str, int, str]] = []
    order = shared[np.argsort(codes[shared], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []:
        owners = sorted({patients[row] for row in rows})
        if len(owners) > 1:
            words = f"same pixels as slices of {', '.join(owners)}"
            found += [("shared-pixels", int(row), words) for row in rows]
        known = rows[value[rows, 0] >= 0]
        differ = (value[known] != value[known[:1]]).any(axis=0)
        if differ.any():
            words = ", ".join(name for name, here in zip(LABELS, differ, strict=True) if here)
            found += [
                ("pixels-labelled-differently", int(row), f"{words}; same pixels as {ids[other]}")
                for row, other in zip(known, np.roll(known, -1), strict=True)
            ]
    return find(pa.array(ids, pa.string()), found)


def find_shared_series(ids: Sequence[str], patients: Sequence[str], linked: Sequence[str]) -> pa.Table:
    """Findings for patients in whose headers one study or series stands: shared-series, at the first slice of each.

    `linked`: of each slice the first patient whom shared studies or series connect with its own, see `ct.series`.
    """
    first: dict[str, int] = {}
    groups: dict[str, list[str]] = {}
    for row, (patient, group) in enumerate(zip(patients, linked, strict=True)):
        if patient not in first:
            first[patient] = row
            groups.setdefault(group, []).append(patient)
    found = [
        ("shared-series", first[patient], f"patients {', '.join(sorted(group))} have a study or series in common")
        for group in groups.values()
        if len(group) > 1
        for patient in group
    ]
    return find(pa.array(ids, pa.string()), found)
