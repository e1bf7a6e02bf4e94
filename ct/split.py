"""Patients → train (CNN half, head half), val, test, hold-out; never a patient, nor one slice, in two of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ct.folds import HOLD_OUT, Given, folds_table, read_folds
from ct.identical import find_identical, find_shared_series
from ct.labels import LABELS, sort_findings
from ct.parameters import SplitCt
from ct.stratify import stratify
from ct.unite import unite
from settings.errors import BadArtifact, BadInput, BadParameter


class Part(NamedTuple):
    """Where a patient belongs; `half` is empty outside of train."""

    part: str  # "train", "val", "test", "hold-out", or "unlabelled": no slice of the patient is in the label CSV
    half: str  # "cnn", "head"


TEST, VAL, CNN, HEAD, HELD_OUT, UNLABELLED = (
    Part("test", ""),
    Part("val", ""),
    Part("train", "cnn"),
    Part("train", "head"),
    Part(HOLD_OUT, ""),
    Part("unlabelled", ""),
)


class Split(NamedTuple):
    """What `split` found, as it is written."""

    parts: pa.Table  # id, patient, part, half; in the order of the index
    train_ids: pa.Table  # id: all slices of the train patients
    val_ids: pa.Table  # id: all slices of the val patients
    labels: dict[str, pa.Table]  # "train", "val", "test", "hold-out": id and the six LABELS of the labelled slices
    folds: pa.Table  # patient, id, fold or part: what `ct.folds.read_folds` reads
    findings: pa.Table  # slices that share their pixels, patients that share series (`ct.labels.FINDINGS`)
    warnings: list[str]  # a label that a part must do without; patients who were not told apart


def split(index: pa.Table, labels: pa.Table, parameters: SplitCt, file: bytes | None = None) -> Split:
    """Deal the patients of a corpus (`index`: id, patient, pixels, linked) into parts, by the labels of their slices.

    Patients who share a slice (the same `pixels`, not empty) or, by their headers, a study or series (the same
    `linked`) are dealt as one. Each part has about its share of them, of those positive for each label and of the
    slices, and each label that enough of them have is in each part, the halves of train included. First
    `hold_out_share` is taken, whatever seed and folds, then the folds are dealt, then what is outside of the test
    fold. `file`: the content of `parameters.file`, whose folds or parts stand in place of what is dealt; a train part
    in it is halved, and gives val its share if the file names none.

    Depends on the patients, their labels, pixels and the parameters; not on the order of rows. Raises BadInput when no
    slice of the index is labelled or the file is not fit for it (`ct.folds`), BadParameter when a part would be empty.
    """
    ids, owner, pixels, linked = (index.column(name).to_pylist() for name in ("id", "patient", "pixels", "linked"))
    value = _values(ids, labels)
    labelled = value[:, 0] >= 0
    if not labelled.any():
        raise BadInput(
            f"none of {len(ids):,} slices is in the label CSV; is it of these slices, and were both prepared with the "
            "same prepare_ct.ids?"
        )
    group = unite([*owner, *owner], [*pixels, *linked])
    with_labels = {owner[row] for row in np.flatnonzero(labelled)}
    members = _Members.of([group[patient] for patient in owner], value, labelled)
    warnings = [
        f"{len(together)} patients ({', '.join(together[:4])}{' …' if len(together) > 4 else ''}) share slices with "
        "the same pixels, or series, and are dealt as one"
        for together in _united(group)
    ]
    if parameters.file and file is not None:
        given = read_folds(file, parameters.file, index, group, members.names, parameters.folds)
        if given.ignored:
            warnings.append(f"{parameters.file}: {given.ignored:,} rows are of no slice or patient here; ignored")
    else:
        given = Given("fold", _deal_folds(members, parameters), 0)
    dealt = _deal_parts(members, given, parameters)
    of = {patient: dealt[group[patient]] if patient in with_labels else UNLABELLED for patient in group}

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
    check_no_leak(table, group)
    train_ids, val_ids = (
        pa.table({"id": index.column("id").filter(pa.array(name == part))}) for part in ("train", "val")
    )
    return Split(
        table,
        train_ids,
        val_ids,
        {part: _label_table(ids, value, labelled & (name == part)) for part in ("train", "val", "test", HOLD_OUT)},
        folds_table(index, {patient: group[patient] for patient in with_labels}, given.kind, given.of),
        sort_findings([find_identical(ids, owner, pixels, value), find_shared_series(ids, owner, linked)]),
        warnings + _check(members, dealt, bool(parameters.hold_out_share) or HELD_OUT in dealt.values()),
    )


class _Members(NamedTuple):
    """Who is dealt: groups of patients with labelled slices."""

    names: list[str]
    positive: npt.NDArray[np.bool_]  # member × LABELS
    slices: npt.NDArray[np.int64]  # labelled ones

    @classmethod
    def of(cls, names: Sequence[str], value: npt.NDArray[np.int8], labelled: npt.NDArray[np.bool_]) -> "_Members":
        """Of slices: the name of each one's member, its labels (-1: none) and whether it has some."""
        known, place = np.unique(np.array(names, np.str_)[labelled], return_inverse=True)
        positive = np.zeros((len(known), len(LABELS)), bool)
        np.logical_or.at(positive, place, value[labelled] == 1)
        return cls(known.tolist(), positive, np.bincount(place, minlength=len(known)))

    def stratify(self, rows: npt.NDArray[np.intp], shares: Sequence[float], seed: str) -> npt.NDArray[np.int64]:
        """`ct.stratify.stratify` of some members."""
        return stratify([self.names[row] for row in rows], self.positive[rows], self.slices[rows], shares, seed)


def _deal_folds(members: _Members, parameters: SplitCt) -> dict[str, str]:
    """Each member's fold, "0", "1" …, or "hold-out"."""
    rows = np.arange(len(members.names))
    of: dict[str, str] = {}
    if share := parameters.hold_out_share:
        kept = members.stratify(rows, [share, 1 - share], HOLD_OUT) == 1
        of |= {members.names[row]: HOLD_OUT for row in rows[~kept]}
        rows = rows[kept]
    fold = members.stratify(rows, [1 / parameters.folds] * parameters.folds, f"{parameters.seed}:folds")
    return of | {members.names[row]: str(number) for row, number in zip(rows, fold, strict=True)}


def _deal_parts(members: _Members, given: Given, parameters: SplitCt) -> dict[str, Part]:
    """Each member's part: as the fold or part that it is given says; what that leaves open is dealt."""
    settled = {HOLD_OUT: HELD_OUT, "val": VAL, "test": TEST, str(parameters.fold): TEST}
    words = [given.of[name] for name in members.names]
    of = {name: settled[word] for name, word in zip(members.names, words, strict=True) if word in settled}
    rest = np.array([row for row, word in enumerate(words) if word not in settled], np.intp)
    val = 0.0 if "val" in words else parameters.val_share
    train = 1 - val
    shares = {VAL: val, CNN: train * parameters.cnn_share, HEAD: train * (1 - parameters.cnn_share)}
    parts = [part for part, share in shares.items() if share]
    dealt = members.stratify(rest, [shares[part] for part in parts], f"{parameters.seed}:{parameters.fold}")
    return of | {members.names[row]: parts[number] for row, number in zip(rest, dealt, strict=True)}


def check_no_leak(parts: pa.Table, group: Mapping[str, str]) -> None:
    """BadArtifact if a patient is in two parts or two halves of `parts` (id, patient, part, half), or a slice twice.

    Likewise if patients of one `group` (patient → group) are; those without labels are in no part.
    """
    ids = parts.column("id").to_pylist()
    if len(set(ids)) < len(ids):
        raise BadArtifact(f"split: {len(ids) - len(set(ids))} slices are listed twice; rerun split-ct")
    of: dict[str, tuple[str, str]] = {}
    columns = (parts.column(name).to_pylist() for name in ("patient", "part", "half"))
    for patient, part, half in zip(*columns, strict=True):
        if of.setdefault(patient, (part, half)) != (part, half):
            both = " and ".join(" ".join(p).strip() for p in (of[patient], (part, half)))
            raise BadArtifact(f"split: patient {patient} is in {both}: a leak; rerun split-ct")
    side: dict[str, tuple[str, tuple[str, str]]] = {}
    for patient, there in of.items():
        if there != UNLABELLED and side.setdefault(group[patient], (patient, there))[1] != there:
            raise BadArtifact(
                f"split: patients {side[group[patient]][0]} and {patient} share slices or series and are in two parts: "
                "a leak; rerun split-ct"
            )


def count_parts(result: Split) -> list[tuple[str, ...]]:
    """A table for the log, header first: of each part patients, slices, labelled slices, positive patients/slices."""
    rows: list[tuple[str, ...]] = [("part", "patients", "slices", "labelled", *LABELS)]
    columns = {name: result.parts.column(name).to_pylist() for name in ("id", "patient", "part", "half")}
    values = {
        row[0]: np.array(row[1:])
        for table in result.labels.values()
        for row in zip(*(table.column(name).to_pylist() for name in ("id", *LABELS)), strict=True)
    }
    for wanted in (CNN, HEAD, VAL, TEST, HELD_OUT, UNLABELLED):
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


def _united(group: Mapping[str, str]) -> Iterable[list[str]]:
    """Patients of each group that has several."""
    together: dict[str, list[str]] = {}
    for patient, name in sorted(group.items()):
        together.setdefault(name, []).append(patient)
    return (patients for patients in together.values() if len(patients) > 1)


def _check(members: _Members, dealt: Mapping[str, Part], held_out: bool) -> list[str]:
    """Warnings for labels that a part lacks; BadParameter for a part that has no patient."""
    warnings = []
    for wanted in (CNN, HEAD, VAL, TEST, *([HELD_OUT] if held_out else [])):
        rows = [row for row, name in enumerate(members.names) if dealt[name] == wanted]
        words = " ".join(wanted).strip()
        if not rows:
            raise BadParameter(
                f"split_ct: no patient is left for {words} ({len(members.names)} labelled patients); "
                "change folds, val_share, cnn_share, hold_out_share or file, or add patients"
            )
        for number, name in enumerate(LABELS):
            if not members.positive[rows, number].any():
                have = members.positive[:, number].sum()
                warnings.append(f"{name}: no patient in {words} ({have} have it in all)")
    return warnings
