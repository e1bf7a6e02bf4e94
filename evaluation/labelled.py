"""The labelled slices of a part, as `split-ct` wrote them, and fractions of their patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from settings.errors import BadArtifact, Skipped

LEAST_PATIENTS = 8  # a smaller fraction is skipped: its result would be that of the patients who happen to be in it


@dataclass(frozen=True)
class Labelled:
    """n slices: ids, their patients and halves ("cnn", "head", "" outside train), truth (n×k uint8, 0 or 1)."""

    ids: list[str]
    patients: list[str]
    halves: list[str]
    truth: npt.NDArray[np.uint8]


def read_labelled(labels: Path, parts: Path, part: str, names: Sequence[str]) -> Labelled:
    """The slices of `labels` (labels-<part>.parquet) with their patients.

    Raises BadArtifact if one of them is not of that part: the files are of different splits.
    """
    table = pq.read_table(labels)
    ids: list[str] = table.column("id").to_pylist()
    rows = {row["id"]: row for row in pq.read_table(parts).to_pylist()}
    for id_ in ids:
        if id_ not in rows or rows[id_]["part"] != part:
            raise BadArtifact(f"{labels}: slice {id_} is not of part {part} in {parts.name}; run `dvc repro split-ct`")
    truth = np.stack([table.column(name).to_numpy() for name in names], axis=1).astype(np.uint8)
    return Labelled(ids, [rows[id_]["patient"] for id_ in ids], [rows[id_]["half"] for id_ in ids], truth)


def fraction_of(labelled: Labelled, half: str, fraction: float, where: str) -> Labelled:
    """The slices of one half ("cnn", "head"; "" outside train), of a share of its patients.

    The same patients for every seed and arm, and a smaller fraction's are among a larger one's. Patients are taken
    evenly from strata by the rarest of their labels, so that each keeps its share to within one patient.
    Raises BadArtifact when the half is empty, and Skipped, naming the parameter `where`, when a fraction below 1 has
    fewer than LEAST_PATIENTS patients.
    """
    members = np.array(labelled.halves) == half
    patients = np.array(labelled.patients)
    if not members.any():
        raise BadArtifact(f"split: no labelled slice for '{half or 'val'}'; check split_ct's shares and rerun split-ct")
    order = _evenly(patients[members], labelled.truth[members])
    count = int(fraction * len(order) + 0.5)
    if fraction < 1 and count < LEAST_PATIENTS:
        raise Skipped(
            f"{where}: {fraction:g} of {len(order)} patients is {count}, fewer than {LEAST_PATIENTS}; "
            "nothing is fitted on so few"
        )
    chosen = np.flatnonzero(members & np.isin(patients, order[:count]))
    return Labelled(
        [labelled.ids[i] for i in chosen],
        patients[chosen].tolist(),
        [half] * len(chosen),
        labelled.truth[chosen],
    )


def _evenly(patients: npt.NDArray[np.str_], truth: npt.NDArray[np.uint8]) -> npt.NDArray[np.str_]:
    """Patients in an order of which every beginning has each stratum in proportion; drawn from a fixed seed."""
    names, of = np.unique(patients, return_inverse=True)
    bleeds = np.zeros((len(names), truth.shape[1]), dtype=bool)
    np.logical_or.at(bleeds, of, truth > 0)
    rarest_first = np.argsort(bleeds.sum(0), kind="stable")
    # Number of the rarest label that a patient has; one more than there are labels where there is none.
    stratum = np.where(bleeds.any(1), bleeds[:, rarest_first].argmax(1), bleeds.shape[1])
    drawn = np.random.default_rng(0).permutation(len(names))
    place = np.empty(len(names))
    for number in np.unique(stratum):
        own = drawn[stratum[drawn] == number]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return names[np.lexsort((drawn, place))]
