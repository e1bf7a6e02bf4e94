"""The phantom scanner: drawn heads with the five kinds of bleed, as DICOM files in the layout of RSNA's competition.

A patient depends on the seed and the patient's number alone: not on how many there are, nor on how many processes draw.
"""

import csv
from collections import Counter
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
from ct.phantom_lesions import Lesion, lesions_of, write_lesions
from ct.phantom_oddities import Oddity, add_clip, draw_clip, frame_of, oddity_of, slices_of, stored_as
from ct.phantom_parameters import PhantomCt
from ct.phantom_plan import SUBTYPES, planned, spread
from ct.phantom_slice import Painted, Pose, add_noise, averaged, labels_of, paint

SHORT = ("EDH", "IPH", "IVH", "SAH", "SDH")  # the subtypes, for captions
LOWEST, HIGHEST = -46.0, 76.0  # mm; heights of the first and last slice, where a series is short enough
ATTEMPTS = 5
SHOWN = 8  # slices of each label on the contact sheet, and of none
SHOWN_FROM = 200  # patients among whom they are sought


class Series(NamedTuple):
    """One patient as drawn, a value for each file. `painted` is the truth: HU without noise, and each label's blood."""

    head: Head
    bleeds: list[Bleed]
    pose: Pose
    kind: Kind
    oddity: Oddity
    numbers: list[int]  # which slice of the pose it is
    painted: list[Painted]
    labels: list[tuple[int, ...]]  # in the order of LABELS


class Picture(NamedTuple):
    """A slice to look at: 128×128 uint8, and its caption."""

    pixels: npt.NDArray[np.uint8]
    caption: str


class Written(NamedTuple):
    """What one patient gave."""

    rows: dict[str, tuple[int, ...]]  # labels of its slices
    lesions: list[Lesion]
    pictures: dict[str, Picture]  # by label, the slice with most of it; "none" of a patient without any
    kind: str
    oddity: Oddity


def draw_series(parameters: PhantomCt, patient: int) -> Series:
    """Draw a patient, from 0. Bleeds that nobody could see on any slice are drawn anew, a few times."""
    rng = np.random.default_rng([parameters.seed, patient, 2])
    wanted = planned(parameters, patient)
    oddity = oddity_of(patient, parameters.oddities)
    healthy = draw_head(rng, parameters.mimic_share, parameters.noise, parameters.cupping)
    pose = _draw_pose(rng, parameters, "intraventricular" in wanted)
    kind = stored_as(draw_kind(rng, parameters.kinds), oddity)
    numbers = slices_of(parameters.slices, oddity)
    last = pose.lowest + pose.step * (parameters.slices - 1)
    margin = min(5.0, (last - pose.lowest) / 4)  # else half of the bleeds would lie outside the slices
    heights = (min(max(pose.lowest + margin, -44.0), 66.0), max(-44.0, min(last - margin, 66.0)))
    for attempt in range(ATTEMPTS):
        drawn = np.random.default_rng([parameters.seed, patient, 3, attempt])
        ranges = spread(drawn, wanted, heights) if attempt < 2 else dict.fromkeys(wanted, heights)
        head, bleeds = draw_bleeds(drawn, healthy, ranges, parameters.bleeds, acute=attempt > 1)
        one_by_one = {number: paint(head, bleeds, pose, number) for number in sorted(set(numbers))}
        painted = [one_by_one[number] for number in numbers]
        labels = [labels_of(p, parameters.model_side, head.noise) for p in painted]
        found = {name for row in labels for name, yes in zip(LABELS, row, strict=True) if yes}
        if found.issuperset(wanted):
            break
    return Series(head, bleeds, pose, kind, oddity, numbers, painted, labels)


def scanned(parameters: PhantomCt, patient: int, series: Series) -> list[npt.NDArray[np.float32]]:
    """What the scanner makes of a series: HU of each file, 512×512, with noise and metal."""
    rng = np.random.default_rng([parameters.seed, patient, 4])
    clip = draw_clip(rng, series.pose, parameters.slices) if series.oddity == "metal" else None
    found = []
    for number, painted in zip(series.numbers, series.painted, strict=True):
        low = 1 / (1 + np.exp((series.pose.lowest + number * series.pose.step + 22) / 6))
        hu = add_noise(painted.hu, series.head.noise * (1 + 0.5 * low), rng, series.head.kernel)
        found.append(add_clip(hu, clip, series.pose, number) if clip else hu)
    return found


def make(parameters: PhantomCt, folder: Path, workers: int, masks: Path | None = None) -> dict[str, int]:
    """Write the whole set below `folder`: stage_2_train/ID_*.dcm, stage_2_train.csv, contact.png, card.json.

    `masks`: the folder for lesions.parquet and its card, where blood lies on each slice; None writes none.
    Returns the counts of its slices: "slices" (truncated ones too), and positive ones by label.
    """
    files = folder / "stage_2_train"
    files.mkdir()
    progress = Progress("phantom-ct", "series", parameters.patients)
    by_patient: dict[int, Written] = {}
    with pool(workers, preload=["ct.phantom"]) as run:
        for patient, result in run(partial(_write_patient, parameters, files), range(parameters.patients)):
            by_patient[patient] = result
            progress.add(1)
    written = [by_patient[patient] for patient in range(parameters.patients)]
    rows = {slice_id: labels for patient in written for slice_id, labels in patient.rows.items()}
    twice = sorted(rows)[: parameters.oddities.duplicate_rows]
    with (folder / "stage_2_train.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["ID", "Label"])
        for slice_id in [*sorted(rows), *twice]:
            out.writerows((f"{slice_id}_{name}", value) for name, value in zip(LABELS, rows[slice_id], strict=True))
    pictures = _pictures(written)
    contact_sheet(
        np.stack([picture.pixels for picture in pictures]), [picture.caption for picture in pictures], SHOWN, cell=128
    ).save(folder / "contact.png")
    if masks:
        write_lesions(masks, [lesion for patient in written for lesion in patient.lesions])
    by_series = np.sum([np.max(list(patient.rows.values()), axis=0) for patient in written], axis=0)
    counts = {name: int(total) for name, total in zip(LABELS, np.sum(list(rows.values()), axis=0), strict=True)}
    write_card(
        folder,
        "dicom",
        drawn=True,
        patients=parameters.patients,
        series=parameters.patients,
        slices=len(rows),
        positive_slices=counts,
        positive_series={name: int(total) for name, total in zip(LABELS, by_series, strict=True)},
        kinds=dict(sorted(Counter(patient.kind for patient in written).items())),
        oddities={**Counter(patient.oddity for patient in written if patient.oddity), "duplicate_rows": len(twice)},
    )
    return {"slices": len(rows), **counts}


def _draw_pose(rng: np.random.Generator, parameters: PhantomCt, ventricles: bool) -> Pose:
    tilted = rng.random() < 2 / 3
    span = parameters.slice_mm * (parameters.slices - 1)
    lowest, highest = LOWEST, max(LOWEST, HIGHEST - span)
    if ventricles:  # they must be among the slices
        lowest = max(LOWEST, -20 - span)
        highest = max(LOWEST, min(highest, IVH_REACH[1] - 12 - min(span, 5)))
    return Pose(
        spacing=float(rng.uniform(0.45, 0.49)),
        tilt=float(np.radians(rng.uniform(0.3, 1) * parameters.tilt * tilted)),
        turn=(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.05)), float(rng.normal(0, 0.08))),
        shift=(float(rng.normal(0, 4)), float(rng.normal(-6, 6))),
        table=float(rng.uniform(40, 300)),
        lowest=float(rng.uniform(lowest, highest)),
        step=parameters.slice_mm,
        holder=(
            float(rng.uniform(100, 125)),
            float(rng.uniform(2, 6)),
            float(rng.uniform(50, 300)),
            float(rng.uniform(-25, -8)),
        ),
    )


def _write_patient(parameters: PhantomCt, files: Path, patient: int) -> tuple[int, Written]:
    series = draw_series(parameters, patient)
    slices = scanned(parameters, patient, series)
    rows, cut = frame_of(series.oddity)
    labels: dict[str, tuple[int, ...]] = {}
    for file, (number, hu) in enumerate(zip(series.numbers, slices, strict=True)):
        who, pose = identity(parameters.seed, patient, file), series.pose
        path = files / f"{who.slice}.dcm"
        corner = pose.spacing * np.array(pose.orientation()).reshape(2, 3).T @ (cut.start, rows.start)
        x, y, z = (np.array(pose.origin(number)) + corner).tolist()
        write_slice(path, hu[rows, cut], who, series.kind, (x, y, z), pose.orientation(), pose.spacing)
        if number >= parameters.slices:  # the extra slice, cut short
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        labels[who.slice] = series.labels[file]
    masks = [{name: mask[rows, cut] for name, mask in painted.masks.items()} for painted in series.painted]
    lesions = lesions_of(list(labels.items()), masks, series.numbers, series.pose.spacing, series.pose.step)
    pictures = _picture(series, slices, parameters.slices) if patient < SHOWN_FROM else {}
    return patient, Written(labels, lesions, pictures, series.kind.name, series.oddity)


def _picture(series: Series, slices: list[npt.NDArray[np.float32]], count: int) -> dict[str, Picture]:
    """Of each label the slice that shows most of it; of a patient without any, the middle one."""
    shown = {}
    for column, label in enumerate(SUBTYPES):
        sizes = [
            int(np.count_nonzero(painted.masks[label])) if labels[column] else 0
            for painted, labels in zip(series.painted[:count], series.labels[:count], strict=True)
        ]
        if any(sizes):
            best = int(np.argmax(sizes))
            others = [SHORT[i] for i, yes in enumerate(series.labels[best][:-1]) if yes and i != column]
            shown[label] = _thumbnail(slices[best], " ".join([label, *others]))
    if not any(labels[-1] for labels in series.labels):
        shown["none"] = _thumbnail(slices[count // 2], "none")
    return shown


def _thumbnail(hu: npt.NDArray[np.float32], caption: str) -> Picture:
    return Picture((apply_window(averaged(hu, 128), Window(40, 80)) * 255).astype(np.uint8), caption)


def _pictures(written: list[Written]) -> list[Picture]:
    """A row of SHOWN slices for each subtype and one without any; gaps are black."""
    found = []
    for name in (*SUBTYPES, "none"):
        row = [patient.pictures[name] for patient in written if name in patient.pictures][:SHOWN]
        blank = Picture(np.zeros((128, 128), np.uint8), "" if row else f"no {name}")
        found += row + [blank] * (SHOWN - len(row))
    return found
