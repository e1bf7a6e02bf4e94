"""floors: what always-no, prevalences, slice position and hyperdense area reach on test.

One of the two stages that read test labels. Everything is fitted on train; no network, no torch. Each floor's answers
are left as `scores-<floor>.parquet`, so that a variant can be compared with it patient by patient.
"""

import json

import numpy as np
import pyarrow.parquet as pq

from corpus.card import write_card
from corpus.images import Images
from ct.labels import LABELS
from evaluation.figures import with_intervals
from evaluation.floors import (
    always_no,
    hyperdense_areas,
    logistic,
    place_bins,
    position_table,
    prevalences,
)
from evaluation.labelled import Labelled, read_labelled
from evaluation.metrics import Floats, auc, counts, summary
from evaluation.parameters import Clip, Floors, Intervals
from evaluation.scores import score_table
from settings.errors import BadParameter
from settings.loader import read_value
from stages.run import Job

AT_ONCE = 1024  # slices in memory


def run(job: Job) -> None:
    parameters = job.section(Floors, "floors")
    intervals = job.section(Intervals, "evaluate.intervals")
    clip = read_value(Clip, job.parameters["evaluate"]["clip"], "evaluate.clip")
    images = Images(job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"), "hu")
    if parameters.bone > images.card["hu_range"][1]:
        raise BadParameter(
            f"floors.bone: {parameters.bone:g} HU is above what slices hold ({images.card['hu_range'][1]:g}); lower it"
        )
    parts = job.input("artifacts/split/parts.parquet")
    train, test = (
        read_labelled(job.input(f"artifacts/split/labels-{part}.parquet"), parts, part, LABELS)
        for part in ("train", "test")
    )
    place = np.array(images.column("place"))
    rows, test_rows = images.rows_of(train.ids), images.rows_of(test.ids)
    positions = position_table(train.truth, place[rows], parameters.position_bins, parameters.position_smoothing)
    areas, test_areas = (dense_areas(images, r, parameters) for r in (rows, test_rows))
    answers = {
        "always-no": always_no(len(test.ids), len(LABELS)),
        "prevalences": np.tile(prevalences(train.truth), (len(test.ids), 1)),
        "slice-position": positions[place_bins(place[test_rows], parameters.position_bins)],
        "hyperdense-area": logistic(train.truth, areas, test_areas),
    }
    floors = {
        name: summary(test.truth, answer, test.patients, LABELS, clip)
        | {"intervals": with_intervals(test.truth, answer, answer, test.patients, LABELS, clip, intervals)}
        for name, answer in answers.items()
    }
    area = {  # the area itself as the score: nothing fitted
        "auc_any_test": auc(test.truth[:, LABELS.index("any")], test_areas),
        "no_area_test": float((test_areas == 0).mean()),
        "median_per_mille_test": float(np.median(test_areas)),
    }
    found = {"train": part_counts(train), "test": part_counts(test), "area": area, "floors": floors}
    folder = job.out("artifacts/floors")
    (folder / "floors.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, answer in answers.items():
        held = answer.clip(clip, 1 - clip)
        table = score_table({"test": test}, np.log(held) - np.log1p(-held), LABELS)
        pq.write_table(table, folder / f"scores-{name}.parquet")
    write_card(folder, "floors", labels=list(LABELS), floors=list(answers), clip=clip)
    for name, figures in floors.items():
        loss, accuracy = figures["weighted_log_loss"], figures["mean_accuracy"]
        print(f"{job.name}: {name}: weighted log loss {loss:.4f}, accuracy {accuracy:.2%}")


def dense_areas(images: Images, rows: np.ndarray, parameters: Floors) -> Floats:
    """Hyperdense area of each of the slices, in per mille of the slice."""
    low, high = images.card["hu_range"]
    found = [
        hyperdense_areas(
            images.shards.read(rows[start : start + AT_ONCE]),
            (low, high),
            parameters.hyperdense,
            parameters.bone,
            parameters.erode,
        )
        for start in range(0, len(rows), AT_ONCE)
    ]
    return np.concatenate(found)


def part_counts(part: Labelled) -> dict[str, object]:
    """Slices, patients and positives of a part and, for train, of its halves."""
    found = counts(part.truth, part.patients, LABELS)
    halves = np.array(part.halves)
    for half in ("cnn", "head"):
        if chosen := np.flatnonzero(halves == half).tolist():
            found[half] = counts(part.truth[chosen], [part.patients[i] for i in chosen], LABELS)
    return found
