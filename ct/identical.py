"""Slices with the same pixels: patients who share some stay together, and what contradicts is found."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ct.labels import LABELS, find


def unite(patients: Sequence[str], pixels: Sequence[str]) -> dict[str, str]:
    """The group of each patient: the first, in order of names, of those whom shared slices connect.

    `patients` and `pixels` are of slices; those with the same `pixels` (a hash, see `ct.convert.content_hash`) are
    shared. An empty hash, of a slice that shows nothing, connects nobody.
    """
    names, owner = np.unique(np.array(patients, np.str_), return_inverse=True)
    codes, shared = _shared(pixels)
    links = owner[shared], len(names) + codes[shared]
    size = len(names) + int(codes.max(initial=-1)) + 1
    _, component = connected_components(
        coo_array((np.ones(len(links[0]), np.int8), links), (size, size)), directed=False
    )
    _, first, group = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    return dict(zip(names.tolist(), names[first[group]].tolist(), strict=True))


def find_identical(
    ids: Sequence[str], patients: Sequence[str], pixels: Sequence[str], value: npt.NDArray[np.int8]
) -> pa.Table:
    """Findings of `ct.labels.FINDINGS` for slices that share their pixels with others.

    shared-pixels: those of several patients; pixels-labelled-differently: those whose labels contradict. `value`:
    n×6, the LABELS of each slice, -1 where it has none.
    """
    codes, shared = _shared(pixels)
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


def _shared(pixels: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A number for each slice's hash, and the slices whose hash another one has too."""
    hashes = pa.array(pixels, pa.string()).dictionary_encode()
    codes = hashes.indices.to_numpy().astype(np.int64)
    empty = np.array([not hash_ for hash_ in hashes.dictionary.to_pylist()], bool)
    often = np.bincount(codes, minlength=len(empty)) > 1
    return codes, np.flatnonzero((often & ~empty)[codes])
