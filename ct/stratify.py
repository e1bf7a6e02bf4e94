"""Members with several labels each → parts of given shares, every label spread alike (iterative stratification)."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ATTEMPTS = 64  # orders tried for one without gaps whose parts have their shares of labels and slices
PRECISION = 1e9  # wants that differ by less than its inverse are equal
BALANCED = 0.02  # relative deviation at which no further order is tried


def stratify(
    members: Sequence[str],
    positive: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.int64],
    shares: Sequence[float],
    seed: str,
) -> npt.NDArray[np.int64]:
    """The part (number in `shares`, which sum to 1) of each member, with every label spread as the shares say.

    `positive`: member × label; `weight`: slices of each member, at least 1. Iterative stratification (Sechidis,
    Tsoumakas and Vlahavas, ECML 2011): the label with the fewest members left is dealt first, each of its members to
    the part that still lacks most of it. Where as many members have a label as there are parts, each part wants at
    least one. Of several orders of the members, all drawn from `seed`, that one counts which leaves the fewest gaps
    and then spreads labels and weight best.
    """
    best: tuple[tuple[int, float], npt.NDArray[np.int64]] | None = None
    wanted = np.array(shares)
    have = positive.sum(axis=0)
    for attempt in range(ATTEMPTS):
        keys = [hashlib.sha256(f"{seed}:{attempt}:{member}".encode()).digest() for member in members]
        part = _deal(sorted(range(len(members)), key=keys.__getitem__), positive, wanted)
        counts = np.stack([positive[part == number].sum(axis=0) for number in range(len(shares))])
        gaps = int((counts == 0)[:, have >= len(shares)].sum() + (np.bincount(part, minlength=len(shares)) == 0).sum())
        spread = np.column_stack([counts, np.bincount(part, weight, minlength=len(shares))])
        expected = np.outer(wanted, [*have, weight.sum()])
        score = gaps, float((np.abs(spread - expected) / np.maximum(expected, 5)).max())
        if best is None or score < best[0]:
            best = score, part
        if not gaps and score[1] < BALANCED:
            break
    assert best is not None
    return best[1]


def _deal(
    order: Sequence[int], positive: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """The part of each member. In lists: of ten numbers a list's largest is found ten times as fast as an array's."""
    have = positive.sum(axis=0)
    start = np.outer(shares, have)
    enough = have >= len(shares)
    start[:, enough] = np.maximum(start[:, enough], 1)
    wants: list[list[float]] = start.T.tolist()  # label × part: positive members still wanted
    room: list[float] = (shares * len(positive)).tolist()  # members still wanted
    has = [np.flatnonzero(row).tolist() for row in positive]
    part = [-1] * len(positive)
    left: list[int] = have.tolist()

    def put(member: int, number: int) -> None:
        part[member] = number
        room[number] -= 1
        for label in has[member]:
            wants[label][number] -= 1
            left[label] -= 1

    while any(left):
        label = min((number for number, count in enumerate(left) if count), key=lambda number: (left[number], number))
        lacks = wants[label]
        for member in order:
            if part[member] < 0 and label in has[member]:
                rounded = [round(lack * PRECISION) for lack in lacks]
                most = max(rounded)
                put(member, max((n for n, lack in enumerate(rounded) if lack == most), key=room.__getitem__))
    for member in order:
        if part[member] < 0:
            rounded = [round(free * PRECISION) for free in room]
            put(member, rounded.index(max(rounded)))
    return np.array(part, np.int64)
