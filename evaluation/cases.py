"""Which test slices are shown and asked about, by rule: nobody picks them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.shards import evenly
from evaluation.scores import Scores

SUREST, MEDIAN, LOWEST, FALSE = KINDS = (
    "positive, highest answer",
    "positive, median answer",
    "positive, lowest answer",
    "negative, highest answer",
)


class Case(NamedTuple):
    """A slice that stands for a label: why, and its id. The fields are the columns of cases.csv."""

    label: str
    kind: str  # of KINDS
    id: str


def choose_cases(scores: Scores, labels: Sequence[str]) -> list[Case]:
    """Of each label the positive slices with the highest, the median and the lowest logit, and the highest negative.

    Where there are fewer positive slices, one stands for several. A label without positive slices has none of them.
    """
    found = []
    for i, label in enumerate(labels):
        order = np.lexsort((np.array(scores.ids), scores.logits[:, i]))  # equal answers by id
        positive, negative = (order[scores.truth[order, i] == value] for value in (1, 0))
        if len(positive):
            three = (positive[-1], positive[len(positive) // 2], positive[0])
            found += [Case(label, kind, scores.ids[row]) for kind, row in zip(KINDS, three, strict=False)]
        if len(negative):
            found.append(Case(label, FALSE, scores.ids[negative[-1]]))
    return found


def spread_positives(scores: Scores, label: int, most: int) -> list[str]:
    """Ids of at most `most` positive slices, evenly over all of them in order of patient and id."""
    positive = np.flatnonzero(scores.truth[:, label] > 0)
    order = positive[np.lexsort((np.array(scores.ids)[positive], np.array(scores.patients)[positive]))]
    return [scores.ids[row] for row in order[evenly(len(order), most)]]


def write_cases(path: Path, cases: Sequence[Case]) -> None:
    """`cases.csv`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Case._fields)
        writer.writerows(cases)


def read_cases(path: Path) -> list[Case]:
    """The inverse of `write_cases`."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Case(**row) for row in csv.DictReader(file)]
