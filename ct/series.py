"""The order of slices: by patient, series, orientation and position along the slice normal; ordinals for identifiers.

Positions are measured along the slice normal, not along the table: with a tilted gantry the table moves further
between two slices than they lie apart.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.manifest import short_hash
from ct.dicom import Header

Normal = tuple[float, float, float]
SAME_PLACE = 0.1  # mm; closer slices are at one position
SAME_ORIENTATION = math.radians(1)
GAP = 1.5  # times the spacing around it
AROUND = 4  # steps on either side of one that say what spacing is usual there


class Placed(NamedTuple):
    """A slice in the order of the corpus; `file` is its number in the list that was ordered."""

    file: int
    frame: int  # from 0; 0 of a single-frame file
    id: str
    patient: str  # "p0001"
    series: str  # "s0001"
    position: float  # mm along the slice normal


class SeriesFinding(NamedTuple):
    """The geometry of one series."""

    series: str  # "s0001"
    slices: int
    spacing: float  # mm; median step along the normal, of steps that are none left out; nan if there is no step
    tilt: float  # degrees between the normal of the first slice and the table's axis, 0 … 90
    duplicates: int  # slices at the position of the one before
    missing: int  # slices that gaps would hold
    orientations: int  # directions of the normal that differ by more than 1°


def order(headers: Sequence[Header | None], hashed: bool) -> tuple[list[Placed], list[int]]:
    """Slices in the order of the corpus, and the places in `headers` that repeat an ID (the first one is kept).

    None stands for a file without a readable header. Patients and series are counted in order of the hashes of their
    identifiers, so that a number tells nothing about when or as whom somebody was scanned. Where a series has several
    orientations, each is in its own order, the one with the most slices first. Slices at one position are in order of
    their ids. `hashed`: ids are hashes of the SOPInstanceUID, else the UID itself. The result does not depend on the
    order of the files, but for which of two duplicates is kept.
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
    placed = []
    normals: dict[str, Counter[Normal]] = {}
    for file, header in kept:
        id_ = short_hash(header.id) if hashed else header.id
        name = series[f"{header.patient}\0{header.series}"]
        placed.append(Placed(file, header.frame, id_, patients[header.patient], name, header.position))
        normals.setdefault(name, Counter())[header.normal] += 1
    several = {name: _orientations(found) for name, found in normals.items() if len(found) > 1}

    def key(slice_: Placed) -> tuple[str, str, int, float, str]:
        rank = several[slice_.series][_normal(slice_, headers)] if slice_.series in several else 0
        return slice_.patient, slice_.series, rank, slice_.position, slice_.id

    placed.sort(key=key)
    return placed, duplicates


def inspect_series(placed: Sequence[Placed], headers: Sequence[Header | None]) -> list[SeriesFinding]:
    """The geometry of each series, in the order of `placed`, which `order` made of `headers`.

    A gap is a step of at least 1.5 times the second-widest of the four steps on either side of it: heads are often
    scanned with thin slices below and thick ones above, or by passes that overlap, and there nothing is missing. So
    up to two gaps near each other are found, and three wide steps are a wider spacing.
    """
    findings = []
    for name, group in groupby(placed, key=lambda slice_: slice_.series):
        slices = list(group)
        normals = [_normal(slice_, headers) for slice_ in slices]
        ranks = _orientations(Counter(normals))
        steps: list[float] = []
        duplicates = missing = 0
        for _, one in groupby(zip(slices, normals, strict=True), key=lambda pair: ranks[pair[1]]):
            along = np.diff([slice_.position for slice_, _ in one])
            apart = along[along > SAME_PLACE].tolist()
            duplicates += len(along) - len(apart)
            gaps = [_lacking(apart, number) for number in range(len(apart))]
            missing += sum(gaps)
            steps += [step for step, lacking in zip(apart, gaps, strict=True) if not lacking]
        spacing = float(np.median(steps)) if steps else math.nan
        across, upright = math.hypot(*normals[0][:2]), abs(normals[0][2])
        tilt = math.degrees(math.atan2(across, upright))
        found = len(set(ranks.values()))
        findings.append(SeriesFinding(name, len(slices), spacing, tilt, duplicates, missing, found))
    return findings


def places(series: Sequence[str]) -> npt.NDArray[np.float32]:
    """Relative rank of each slice in its series, 0 … 1, for slices in the order of the corpus; 0.5 for a lone slice."""
    ranks = [
        np.linspace(0, 1, count) if count > 1 else np.array([0.5])
        for count in (len(list(group)) for _, group in groupby(series))
    ]
    return np.concatenate(ranks).astype(np.float32) if ranks else np.empty(0, np.float32)


def _orientations(normals: Mapping[Normal, int]) -> dict[Normal, int]:
    """The number of each normal's orientation, from 0 for the one with the most slices.

    A normal belongs to the most frequent one within 1° of it.
    """
    members: dict[Normal, list[Normal]] = {}
    for normal in sorted(normals, key=lambda normal: (-normals[normal], normal)):
        near = (other for other in members if math.dist(other, normal) <= SAME_ORIENTATION)
        members.setdefault(next(near, normal), []).append(normal)
    largest = sorted(members, key=lambda normal: (-sum(normals[member] for member in members[normal]), normal))
    return {member: rank for rank, normal in enumerate(largest) for member in members[normal]}


def _lacking(steps: Sequence[float], number: int) -> int:
    """How many slices would fit into one of the steps of a series; 0 if it is no gap."""
    others = [*steps[max(number - AROUND, 0) : number], *steps[number + 1 : number + 1 + AROUND]]
    if not others:
        return 0
    usual = sorted(others)[-2:][0]
    return max(round(steps[number] / usual) - 1, 1) if steps[number] >= GAP * usual else 0


def _normal(slice_: Placed, headers: Sequence[Header | None]) -> Normal:
    header = headers[slice_.file]
    assert header is not None  # it was placed by it
    return header.normal


def _ordinals(letter: str, names: set[str]) -> dict[str, str]:
    digits = max(4, len(str(len(names))))
    return {name: f"{letter}{n:0{digits}d}" for n, name in enumerate(sorted(names, key=short_hash), start=1)}
