"""Patients → train (CNN half, head half), val, test; never a patient in two of them."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ct.labels import LABELS
from ct.parameters import SplitCt
from settings.errors import BadArtifact, BadInput, BadParameter

ATTEMPTS = 64  # orders tried for one without gaps whose parts have their shares of labels and slices
BALANCED = 0.02  # relative deviation at which no further order is tried


class Part(NamedTuple):
    """Where a patient belongs; `half` is empty outside of train."""

    part: str  # "train", "val", "test", or "unlabelled": no slice of the patient is in the label CSV
    half: str  # "cnn", "head"


TEST, VAL, CNN, HEAD, UNLABELLED = (
    Part("test", ""),
    Part("val", ""),
    Part("train", "cnn"),
    Part("train", "head"),
    Part("unlabelled", ""),
)


class Split(NamedTuple):
    """What `split` found, as it is written."""

    parts: pa.Table  # id, patient, part, half; in the order of the index
    train_ids: pa.Table  # id: all slices of the train patients
    labels: dict[str, pa.Table]  # "train", "val", "test": id and the six LABELS of the labelled slices
    warnings: list[str]  # a label that a part must do without


def split(index: pa.Table, labels: pa.Table, parameters: SplitCt) -> Split:
    """Deal the patients of an image corpus (`index`: id, patient) into parts, by the labels of their slices.

    Each part has about its share of the patients, of the positive patients of each label and of the slices, and each
    label that enough patients have is in each part, the halves of train included. Depends on the patients, their
    labels and the parameters; not on the order of rows. Raises BadInput when no slice of the index is labelled,
    BadParameter when a part would be empty.
    """
    ids, owner = index.column("id").to_pylist(), index.column("patient").to_pylist()
    value = _values(ids, labels)
    labelled = value[:, 0] >= 0
    if not labelled.any():
        raise BadInput(
            f"none of {len(ids):,} slices is in the label CSV; is it of these slices, and were both prepared with the "
            "same prepare_ct.ids?"
        )
    patients = sorted({patient for patient, known in zip(owner, labelled, strict=True) if known})
    place = {patient: row for row, patient in enumerate(patients)}
    positive = np.zeros((len(patients), len(LABELS)), bool)
    slices = np.zeros(len(patients), np.int64)
    for row in np.flatnonzero(labelled):
        positive[place[owner[row]]] |= value[row] == 1
        slices[place[owner[row]]] += 1

    of = dict.fromkeys(owner, UNLABELLED)
    fold = stratify(patients, positive, slices, [1 / parameters.folds] * parameters.folds, f"{parameters.seed}:folds")
    rest = np.flatnonzero(fold != parameters.fold)
    train = 1 - parameters.val_share
    shares = [parameters.val_share, train * parameters.cnn_share, train * (1 - parameters.cnn_share)]
    names = [patients[row] for row in rest]
    dealt = stratify(names, positive[rest], slices[rest], shares, f"{parameters.seed}:{parameters.fold}")
    of |= {patients[row]: TEST for row in np.flatnonzero(fold == parameters.fold)}
    of |= {patients[row]: (VAL, CNN, HEAD)[part] for row, part in zip(rest, dealt, strict=True)}

    parts = [of[patient] for patient in owner]
    name = np.array([part.part for part in parts])
    table = pa.table(
        {
            "id": index.column("id"),
            "patient": index.column("patient"),
            "part": pa.array([part.part for part in parts], pa.string()),
            "half": pa.array([part.half for part in parts], pa.string()),
        }
    )
    check_no_leak(table)
    return Split(
        table,
        pa.table({"id": index.column("id").filter(pa.array(name == "train"))}),
        {part: _label_table(ids, value, labelled & (name == part)) for part in ("train", "val", "test")},
        _check(of, patients, positive),
    )


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


def check_no_leak(parts: pa.Table) -> None:
    """BadArtifact if a patient is in two parts or two halves of `parts` (id, patient, part, half), or a slice twice."""
    ids = parts.column("id").to_pylist()
    if len(set(ids)) < len(ids):
        raise BadArtifact(f"split: {len(ids) - len(set(ids))} slices are listed twice; rerun split-ct")
    of: dict[str, tuple[str, str]] = {}
    columns = (parts.column(name).to_pylist() for name in ("patient", "part", "half"))
    for patient, part, half in zip(*columns, strict=True):
        if of.setdefault(patient, (part, half)) != (part, half):
            there = " and ".join(" ".join(p).strip() for p in (of[patient], (part, half)))
            raise BadArtifact(f"split: patient {patient} is in {there}: a leak; rerun split-ct")


def count_parts(result: Split) -> list[tuple[str, ...]]:
    """A table for the log, header first: of each part patients, slices, labelled slices, positive patients/slices."""
    rows: list[tuple[str, ...]] = [("part", "patients", "slices", "labelled", *LABELS)]
    columns = {name: result.parts.column(name).to_pylist() for name in ("id", "patient", "part", "half")}
    values = {
        row[0]: np.array(row[1:])
        for table in result.labels.values()
        for row in zip(*(table.column(name).to_pylist() for name in ("id", *LABELS)), strict=True)
    }
    for wanted in (CNN, HEAD, VAL, TEST, UNLABELLED):
        ids, patients = [], []
        for id_, patient, part, half in zip(*columns.values(), strict=True):
            if (part, half) == wanted:
                ids.append(id_)
                patients.append(patient)
        known = [(patient, values[id_]) for id_, patient in zip(ids, patients, strict=True) if id_ in values]
        cells = []
        for label in range(len(LABELS)):
            hits = [patient for patient, value in known if value[label]]
            cells.append(f"{len(set(hits)):,}/{len(hits):,}")
        words = " ".join(wanted).strip()
        rows.append((words, f"{len(set(patients)):,}", f"{len(ids):,}", f"{len(known):,}", *cells))
    return rows


def _deal(
    order: Sequence[int], positive: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    have = positive.sum(axis=0)
    wants = np.outer(shares, have)  # part × label: positive members still wanted
    enough = have >= len(shares)
    wants[:, enough] = np.maximum(wants[:, enough], 1)
    room = shares * len(positive)  # members still wanted
    part = np.full(len(positive), -1, np.int64)

    def put(member: int, number: int) -> None:
        part[member] = number
        room[number] -= 1
        wants[number, positive[member]] -= 1

    left = have.copy()
    while left.any():
        label = min(np.flatnonzero(left), key=lambda number: (left[number], number))
        for member in order:
            if part[member] < 0 and positive[member, label]:
                lacks = np.round(wants[:, label], 9)
                candidates = np.flatnonzero(lacks == lacks.max())
                put(member, int(candidates[np.argmax(room[candidates])]))
        left = positive[part < 0].sum(axis=0)
    for member in order:
        if part[member] < 0:
            put(member, int(np.argmax(np.round(room, 9))))
    return part


def _values(ids: Sequence[str], labels: pa.Table) -> npt.NDArray[np.int8]:
    """n×6: labels of each slice, -1 where it has none."""
    value = np.full((len(ids), len(LABELS)), -1, np.int8)
    place = {id_: row for row, id_ in enumerate(labels.column("id").to_pylist())}
    rows = np.array([place.get(id_, -1) for id_ in ids], np.int64)
    for number, name in enumerate(LABELS):
        value[rows >= 0, number] = labels.column(name).to_numpy()[rows[rows >= 0]]
    return value


def _label_table(ids: Sequence[str], value: npt.NDArray[np.int8], chosen: npt.NDArray[np.bool_]) -> pa.Table:
    columns: dict[str, Any] = {"id": pa.array(ids, pa.string()).filter(pa.array(chosen))}
    for number, name in enumerate(LABELS):
        columns[name] = pa.array(value[chosen, number].astype(np.uint8))
    return pa.table(columns)


def _check(of: dict[str, Part], patients: Sequence[str], positive: npt.NDArray[np.bool_]) -> list[str]:
    """Warnings for labels that a part lacks; BadParameter for a part that has no patient."""
    warnings = []
    for wanted in (CNN, HEAD, VAL, TEST):
        rows = [row for row, patient in enumerate(patients) if of[patient] == wanted]
        words = " ".join(wanted).strip()
        if not rows:
            raise BadParameter(
                f"split_ct: no patient is left for {words} ({len(patients)} labelled patients); "
                "change folds, val_share or cnn_share, or add patients"
            )
        for number, name in enumerate(LABELS):
            if not positive[rows, number].any():
                warnings.append(f"{name}: no patient in {words} ({positive[:, number].sum()} have it in all)")
    return warnings
