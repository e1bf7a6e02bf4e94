"""The phantom scanner: drawn heads with the five kinds of bleed, as DICOM files in the layout of RSNA's competition.

A patient depends on the seed and the patient's number alone: not on how many there are, nor on how many processes draw.
"""

import csv
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.card import write_card
from corpus.contact_sheet import contact_sheet
from corpus.windows import Window, apply_window
from corpus.workers import Progress, pool
from ct.labels import LABELS
from ct.phantom_bleeds import IVH_REACH, Bleed, draw_bleeds
from ct.phantom_dicom import Kind, draw_kind, identity, write_slice
from ct.phantom_head import Head, draw_head
from ct.phantom_parameters import PhantomCt
from ct.phantom_slice import SIDE, Painted, Pose, add_noise, averaged, labels_of, paint

SUBTYPES = LABELS[:-1]
SHORT = ("EDH", "IPH", "IVH", "SAH", "SDH")  # the same, for captions
BLOCK = 20  # patients among whom shares are kept as nearly as they can be
LOWEST, HIGHEST = -46.0, 76.0  # mm; heights of the first and last slice, where a series is short enough
ATTEMPTS = 5
SHOWN = 48  # slices on the contact sheet
# How bleeds go together (after P(other label on the slice) of the competition): correlation of what draws them.
TOGETHER = {
    ("intraparenchymal", "intraventricular"): 0.35,
    ("intraventricular", "subarachnoid"): 0.2,
    ("intraparenchymal", "subarachnoid"): 0.15,
    ("subarachnoid", "subdural"): 0.15,
    ("epidural", "subdural"): 0.1,
    ("intraventricular", "subdural"): -0.15,
}


class Series(NamedTuple):
    """One patient as drawn. `painted` has the truth: HU without noise, and each label's blood."""

    head: Head
    bleeds: list[Bleed]
    pose: Pose
    kind: Kind
    painted: list[Painted]
    labels: list[tuple[int, ...]]  # of each slice, in the order of LABELS


class Written(NamedTuple):
    """What one patient gave: label rows of its slices, and one slice to look at (128×128 uint8) with its caption."""

    rows: dict[str, tuple[int, ...]]
    thumbnail: npt.NDArray[np.uint8]
    caption: str


def planned(parameters: PhantomCt, patient: int) -> list[str]:
    """The subtypes that a patient is to have.

    Patients are dealt in blocks of 20; over blocks the shares are met exactly. Within a block the positive patients
    with the highest of five correlated normal numbers have the subtype; each positive patient has at least one.
    """
    block, place = divmod(patient, BLOCK)
    rng = np.random.default_rng([parameters.seed, block, 1])

    def quota(share: float) -> int:
        return int(share * BLOCK * (block + 1) + 0.5) - int(share * BLOCK * block + 0.5)

    positive = rng.permutation(BLOCK)[: quota(parameters.any_share)]
    covariance = np.eye(len(SUBTYPES))
    for pair, value in TOGETHER.items():
        i, j = (SUBTYPES.index(name) for name in pair)
        covariance[i, j] = covariance[j, i] = value
    scores = rng.standard_normal((len(positive), len(SUBTYPES))) @ np.linalg.cholesky(covariance).T
    has = np.zeros(scores.shape, dtype=np.bool_)
    for column, share in enumerate(parameters.subtype_shares.model_dump().values()):
        has[np.argsort(-scores[:, column])[: quota(share)], column] = True
    for row in np.flatnonzero(~has.any(axis=1)):  # give it one from the patient who has most
        richest = int(has.sum(axis=1).argmax())
        column = int(np.flatnonzero(has[richest])[0])
        if has[richest].sum() > 1:
            has[richest, column] = False
        else:
            column = int(rng.integers(len(SUBTYPES)))
        has[row, column] = True
    where = np.flatnonzero(positive == place)
    return [name for name, yes in zip(SUBTYPES, has[where[0]], strict=True) if yes] if len(where) else []


def draw_series(parameters: PhantomCt, patient: int) -> Series:
    """Draw a patient, from 0. Bleeds that nobody could see on any slice are drawn anew, a few times."""
    rng = np.random.default_rng([parameters.seed, patient, 2])
    wanted = planned(parameters, patient)
    healthy = draw_head(rng, parameters.mimic_share, parameters.noise, parameters.cupping)
    pose = _draw_pose(rng, parameters, "intraventricular" in wanted)
    kind = draw_kind(rng, parameters.signed_share)
    count = parameters.slices + (patient < parameters.truncated)
    last = pose.lowest + pose.step * (parameters.slices - 1)
    margin = min(5.0, (last - pose.lowest) / 4)  # else half of the bleeds would lie outside the slices
    heights = (max(pose.lowest + margin, -44.0), max(-44.0, min(last - margin, 66.0)))
    for attempt in range(ATTEMPTS):
        drawn = np.random.default_rng([parameters.seed, patient, 3, attempt])
        head, bleeds = draw_bleeds(drawn, healthy, wanted, heights, 1.0 if attempt > 1 else parameters.easy_share)
        painted = [paint(head, bleeds, pose, number) for number in range(count)]
        labels = [labels_of(p, parameters.model_side, head.noise) for p in painted]
        found = {name for row in labels for name, yes in zip(LABELS, row, strict=True) if yes}
        if found.issuperset(wanted):
            break
    return Series(head, bleeds, pose, kind, painted, labels)


def make(parameters: PhantomCt, folder: Path, workers: int) -> dict[str, int]:
    """Write the whole set below `folder`: stage_2_train/ID_*.dcm, stage_2_train.csv, contact.png, card.json.

    Returns the counts of its slices: "slices" (truncated ones too), and positive ones by label.
    """
    files = folder / "stage_2_train"
    files.mkdir()
    patients = range(parameters.patients)
    progress = Progress("phantom-ct", "series", parameters.patients)
    written: dict[int, Written] = {}
    with pool(workers, preload=["ct.phantom"]) as run:
        for patient, result in run(partial(_write_patient, parameters, files), patients):
            written[patient] = result
            progress.add(1)
    rows = {slice_id: labels for patient in patients for slice_id, labels in written[patient].rows.items()}
    with (folder / "stage_2_train.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["ID", "Label"])
        for slice_id in sorted(rows):
            out.writerows((f"{slice_id}_{name}", value) for name, value in zip(LABELS, rows[slice_id], strict=True))
    shown = [written[patient] for patient in patients[:SHOWN]]
    contact_sheet(np.stack([w.thumbnail for w in shown]), [w.caption for w in shown], cell=128).save(
        folder / "contact.png"
    )
    by_series = np.array([np.max(list(written[patient].rows.values()), axis=0) for patient in patients])
    counts = {name: int(total) for name, total in zip(LABELS, np.sum(list(rows.values()), axis=0), strict=True)}
    write_card(
        folder,
        "dicom",
        drawn=True,
        patients=parameters.patients,
        series=parameters.patients,
        slices=len(rows),
        truncated=parameters.truncated,
        side=SIDE,
        positive_slices=counts,
        positive_series={name: int(total) for name, total in zip(LABELS, by_series.sum(axis=0), strict=True)},
    )
    return {"slices": len(rows), **counts}


def _draw_pose(rng: np.random.Generator, parameters: PhantomCt, ventricles: bool) -> Pose:
    tilted = rng.random() < 2 / 3
    span = parameters.slice_mm * (parameters.slices - 1)
    highest = max(LOWEST, HIGHEST - span)
    if ventricles:  # they must be among the slices
        highest = max(LOWEST, min(highest, IVH_REACH[1] - 12 - min(span, 5)))
    return Pose(
        spacing=float(rng.uniform(0.45, 0.49)),
        tilt=float(np.radians(rng.uniform(0.3, 1) * parameters.tilt * tilted)),
        turn=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.035)), float(rng.normal(0, 0.05))),
        shift=(float(rng.normal(0, 4)), float(rng.normal(-6, 6))),
        table=float(rng.uniform(40, 300)),
        lowest=float(rng.uniform(LOWEST, highest)),
        step=parameters.slice_mm,
        holder=(
            float(rng.uniform(105, 135)),
            float(rng.uniform(2, 6)),
            float(rng.uniform(50, 300)),
            float(rng.uniform(-22, 2)),
        ),
    )


def _write_patient(parameters: PhantomCt, files: Path, patient: int) -> tuple[int, Written]:
    series = draw_series(parameters, patient)
    rng = np.random.default_rng([parameters.seed, patient, 4])
    rows, slices = {}, []
    for number, (painted, labels) in enumerate(zip(series.painted, series.labels, strict=True)):
        low = 1 / (1 + np.exp((series.pose.lowest + number * series.pose.step + 22) / 6))
        hu = add_noise(painted.hu, series.head.noise * (1 + 0.5 * low), rng)  # more of it between thick bones
        who = identity(parameters.seed, patient, number)
        path = files / f"{who.slice}.dcm"
        pose = series.pose
        write_slice(path, hu, who, series.kind, pose.origin(number), pose.orientation(), pose.spacing)
        if number >= parameters.slices:  # the extra slice, cut short
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        else:
            slices.append(hu)
        rows[who.slice] = labels
    best = int(np.argmax([sum(labels) for labels in series.labels[: len(slices)]]))
    if not any(series.labels[best]):
        best = len(slices) // 2
    shown = apply_window(averaged(slices[best], 128), Window(40, 80))
    names = [name for name, yes in zip(SHORT, series.labels[best], strict=False) if yes]
    return patient, Written(rows, (shown * 255).astype(np.uint8), " ".join(names) or "-")
