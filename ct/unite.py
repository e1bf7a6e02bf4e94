"""Patients who share something that belongs to one patient alone: they are dealt as one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def unite(patients: Sequence[str], shared: Sequence[str]) -> dict[str, str]:
    """The group of each patient: the first, in order of names, of those whom shared things connect.

    Row by row a patient and what stands for a thing (a hash of a slice's pixels, of a series); those with the same are
    connected. An empty one connects nobody.
    """
    names, owner = np.unique(np.array(patients, np.str_), return_inverse=True)
    codes, rows = repeated(shared)
    links = owner[rows], len(names) + codes[rows]
    size = len(names) + int(codes.max(initial=-1)) + 1
    _, component = connected_components(
        coo_array((np.ones(len(links[0]), np.int8), links), (size, size)), directed=False
    )
    _, first, group = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    return dict(zip(names.tolist(), names[first[group]].tolist(), strict=True))


def repeated(hashes: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A number for each hash, and the rows whose hash another one has too; empty ones are none."""
    words = pa.array(hashes, pa.string()).dictionary_encode()
    codes = words.indices.to_numpy().astype(np.int64)
    empty = np.array([not word for word in words.dictionary.to_pylist()], bool)
    often = np.bincount(codes, minlength=len(empty)) > 1
    return codes, np.flatnonzero((often & ~empty)[codes])
