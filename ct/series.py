"""The order of slices: by patient, series, and position along the slice normal; ordinals in place of identifiers."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.manifest import short_hash
from ct.dicom import Header


class Placed(NamedTuple):
    """A slice in the order of the corpus; `file` is its number in the list that was ordered."""

    file: int
    id: str
    patient: str  # "p0001"
    series: str  # "s0001"
    position: float  # mm along the slice normal


def order(headers: Sequence[Header | None], hashed: bool) -> tuple[list[Placed], list[int]]:
    """Slices in the order of the corpus, and the files that repeat a SOPInstanceUID (the first one is kept).

    None stands for a file without a readable header. Patients and series are counted in order of the hashes of their
    identifiers, so that a number tells nothing about when or as whom somebody was scanned. `hashed`: ids are hashes of
    the SOPInstanceUID, else the UID itself. The result does not depend on the order of the files, but for which of
    two duplicates is kept.
    """
    first: dict[str, int] = {}
    duplicates = []
    for file, header in enumerate(headers):
        if header is None:
            continue
        if header.id in first:
            duplicates.append(file)
        else:
            first[header.id] = file
    kept = [(file, header) for file in first.values() if (header := headers[file])]
    patients = _ordinals("p", {header.patient for _, header in kept})
    series = _ordinals("s", {f"{header.patient}\0{header.series}" for _, header in kept})
    placed = [
        Placed(
            file,
            short_hash(header.id) if hashed else header.id,
            patients[header.patient],
            series[f"{header.patient}\0{header.series}"],
            header.position,
        )
        for file, header in kept
    ]
    placed.sort(key=lambda slice_: (slice_.patient, slice_.series, slice_.position, slice_.id))
    return placed, duplicates


def places(series: Sequence[str]) -> npt.NDArray[np.float32]:
    """Relative rank of each slice in its series, 0 … 1, for slices in the order of the corpus; 0.5 for a lone slice."""
    ranks = [
        np.linspace(0, 1, count) if count > 1 else np.array([0.5])
        for count in (len(list(group)) for _, group in groupby(series))
    ]
    return np.concatenate(ranks).astype(np.float32) if ranks else np.empty(0, np.float32)


def _ordinals(letter: str, names: set[str]) -> dict[str, str]:
    digits = max(4, len(str(len(names))))
    return {name: f"{letter}{n:0{digits}d}" for n, name in enumerate(sorted(names, key=short_hash), start=1)}
