"""The order of slices: by patient, series, orientation and position along the slice normal; ordinals for identifiers.

Positions are measured along the slice normal, not along the table: with a tilted gantry the table moves further
between two slices than they lie apart. All is done by column: 750,000 slices as objects would take gigabytes.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus.manifest import short_hash
from ct.unite import unite

Normal = tuple[float, float, float]
SAME_PLACE = 0.1  # mm; closer slices are at one position
SAME_ORIENTATION = math.radians(1)
GAP = 1.5  # times the spacing around it
AROUND = 4  # steps on either side of one that say what spacing is usual there


class Order(NamedTuple):
    """Slices in the order of the corpus."""

    rows: npt.NDArray[np.int64]  # of the table that was ordered; the columns that follow are of these rows
    patient: pa.DictionaryArray  # "p0001"
    series: pa.DictionaryArray  # "s0001"
    linked: pa.DictionaryArray  # the first patient whom shared studies or series connect with this one, or itself
    duplicates: npt.NDArray[np.int64]  # rows that repeat an ID


class SeriesFinding(NamedTuple):
    """The geometry of one series."""

    series: str  # "s0001"
    slices: int
    spacing: float  # mm; median step along the normal, of steps that are none left out; nan if there is no step
    tilt: float  # degrees between the normal of the first slice and the table's axis, 0 … 90
    duplicates: int  # slices at the position of the one before
    missing: int  # slices that gaps would hold
    orientations: int  # directions of the normal that differ by more than 1°


def order(slices: pa.Table) -> Order:
    """The order of slices: columns id, patient, series, study (strings), position, x, y, z (the normal).

    The first row of an id is kept. Patients and series are counted in order of the hashes of their identifiers, so
    that a number tells nothing about when or as whom somebody was scanned; a series that stands under two patients is
    two, whose patients are linked. Where a series has several orientations, each is in its own order, the one with
    the most slices first. Slices at one position are in order of their ids. The result does not depend on the order of
    the rows, but for which of two duplicates is kept.
    """
    _, first = np.unique(slices["id"].combine_chunks().dictionary_encode().indices.to_numpy(), return_index=True)
    duplicates = np.setdiff1d(np.arange(slices.num_rows), first)
    kept = slices.take(pa.array(np.sort(first))) if len(duplicates) else slices
    owner, patients = _codes(kept["patient"])
    within, uids = _codes(kept["series"])
    pairs, series = np.unique(owner * max(len(uids), 1) + within, return_inverse=True)
    keys = [f"{patients[pair // len(uids)]}\0{uids[pair % len(uids)]}" for pair in pairs.tolist()]
    patient_number, series_number = _ranks(patients)[owner], _ranks(keys)[series]
    sortable = pa.table(
        {
            "patient": patient_number,
            "series": series_number,
            "orientation": _orientation_ranks(kept, series),
            "position": kept["position"],
            "id": kept["id"],
        }
    )
    order_ = pc.sort_indices(sortable, [(name, "ascending") for name in sortable.column_names]).to_numpy()
    group = _linked(kept, patients, owner)
    ordinals = _ordinals("p", len(patients))
    rank_of = dict(zip(patients, _ranks(patients).tolist(), strict=True))
    first_of: dict[str, int] = {}  # of a group, the patient with the lowest number
    for name, of in group.items():
        first_of[of] = min(rank_of[name], first_of.get(of, len(patients)))
    link = np.array([first_of[group[name]] for name in patients], np.int32)
    return Order(
        np.sort(first)[order_],
        _named(patient_number[order_], ordinals),
        _named(series_number[order_], _ordinals("s", len(keys))),
        _named(link[owner[order_]], ordinals),
        duplicates,
    )


def inspect_series(slices: pa.Table) -> list[SeriesFinding]:
    """The geometry of each series, in order; `slices`: series, position, x, y, z, in the order of the corpus.

    A gap is a step of at least 1.5 times the second-widest of the four steps on either side of it: heads are often
    scanned with thin slices below and thick ones above, or by passes that overlap, and there nothing is missing. So
    up to two gaps near each other are found, and three wide steps are a wider spacing.
    """
    codes, names = _codes(slices["series"])
    position, *axes = (slices[name].to_numpy() for name in ("position", "x", "y", "z"))
    findings = []
    for start, end in _runs(codes):
        normals: list[Normal] = list(zip(*(axis[start:end].tolist() for axis in axes), strict=True))
        ranks = _orientations(normals)
        steps: list[float] = []
        duplicates = missing = 0
        for _, one in groupby(range(len(normals)), key=lambda row: ranks[normals[row]]):
            along = np.diff(position[start:end][list(one)])
            apart = along[along > SAME_PLACE].tolist()
            duplicates += len(along) - len(apart)
            gaps = [_lacking(apart, number) for number in range(len(apart))]
            missing += sum(gaps)
            steps += [step for step, lacking in zip(apart, gaps, strict=True) if not lacking]
        spacing = float(np.median(steps)) if steps else math.nan
        across, upright = math.hypot(*normals[0][:2]), abs(normals[0][2])
        tilt = math.degrees(math.atan2(across, upright))
        found = len(set(ranks.values()))
        findings.append(SeriesFinding(names[codes[start]], len(normals), spacing, tilt, duplicates, missing, found))
    return findings


def places(series: pa.DictionaryArray | pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Relative rank of each slice in its series, 0 … 1, for slices in the order of the corpus; 0.5 for a lone slice."""
    found = np.full(len(series), 0.5, np.float32)
    for start, end in _runs(_codes(series)[0]):
        if end - start > 1:
            found[start:end] = np.linspace(0, 1, end - start)
    return found


def _linked(kept: pa.Table, patients: Sequence[str], owner: npt.NDArray[np.int64]) -> dict[str, str]:
    """The group of each patient, by the studies and series that stand under several."""
    names, hashes = list(patients), [""] * len(patients)
    for column in ("study", "series"):
        codes, words = _codes(kept[column])
        for pair in np.unique(owner * max(len(words), 1) + codes).tolist():
            names.append(patients[pair // len(words)])
            word = words[pair % len(words)]
            hashes.append(f"{column} {word}" if word else "")
    return unite(names, hashes)


def _orientation_ranks(kept: pa.Table, series: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The orientation of each slice in its series (a number), 0 in those that have only one."""
    found = np.zeros(len(series), np.int32)
    axes = [kept[name].to_numpy() for name in "xyz"]
    by_series = np.argsort(series, kind="stable")
    for start, end in _runs(series[by_series]):
        rows = by_series[start:end]
        if any((axis[rows] != axis[rows[0]]).any() for axis in axes):
            normals: list[Normal] = list(zip(*(axis[rows].tolist() for axis in axes), strict=True))
            ranks = _orientations(normals)
            found[rows] = [ranks[normal] for normal in normals]
    return found


def _orientations(slices: Sequence[Normal]) -> dict[Normal, int]:
    """The number of each normal's orientation, from 0 for the one with the most slices.

    A normal belongs to the most frequent one within 1° of it.
    """
    normals: Mapping[Normal, int] = Counter(slices)
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


def _codes(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    """A number for each value of a column of words, and the words."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    words = whole if isinstance(whole, pa.DictionaryArray) else whole.dictionary_encode()
    return words.indices.to_numpy().astype(np.int64), words.dictionary.to_pylist()


def _runs(codes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """[start, end) of each run of equal numbers."""
    ends = (np.flatnonzero(np.diff(codes)) + 1).tolist()
    return zip([0, *ends], [*ends, len(codes)], strict=True) if len(codes) else iter(())


def _ranks(names: Sequence[str]) -> npt.NDArray[np.int32]:
    """The place of each in the order of their hashes."""
    hashes = np.array([short_hash(name) for name in names], np.str_)
    ranks = np.empty(len(names), np.int32)
    ranks[np.argsort(hashes, kind="stable")] = np.arange(len(names), dtype=np.int32)
    return ranks


def _ordinals(letter: str, count: int) -> list[str]:
    digits = max(4, len(str(count)))
    return [f"{letter}{n:0{digits}d}" for n in range(1, count + 1)]


def _named(numbers: npt.NDArray[np.int32], names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(names, pa.string()))
