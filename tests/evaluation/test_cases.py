from pathlib import Path

import numpy as np

from evaluation.cases import (
    FALSE,
    LOWEST,
    MEDIAN,
    SUREST,
    Case,
    choose_cases,
    read_cases,
    spread_positives,
    write_cases,
)
from evaluation.falls import Falls, read_falls, write_falls
from evaluation.scores import Scores

LABELS = ("subdural", "any")


def scores() -> Scores:
    """Eight slices of four patients; `any` is positive on the first five, whose answers are 4, 0, 9, 1, 1."""
    truth = np.zeros((8, 2), np.uint8)
    truth[:5, 1] = 1
    logits = np.array([4.0, 0, 9, 1, 1, 7, 7, -3])
    ids, patients = [f"s{i}" for i in range(8)], ["d", "a", "a", "b", "c", "c", "d", "d"]
    return Scores(ids, patients, truth, np.stack([-logits, logits], axis=1))


def test_cases_are_chosen_by_rank_and_equal_answers_by_id(tmp_path: Path) -> None:
    cases = choose_cases(scores(), LABELS)
    assert cases == [
        Case("subdural", FALSE, "s7"),  # the label has no positive slice
        Case("any", SUREST, "s2"),
        Case("any", MEDIAN, "s4"),  # of 0, 1, 1, 4, 9
        Case("any", LOWEST, "s1"),
        Case("any", FALSE, "s6"),
    ]
    write_cases(tmp_path / "cases.csv", cases)
    assert read_cases(tmp_path / "cases.csv") == cases


def test_positives_are_spread_over_patients() -> None:
    assert spread_positives(scores(), 1, 9) == ["s1", "s2", "s3", "s4", "s0"]
    assert spread_positives(scores(), 1, 3) == ["s1", "s3", "s0"]
    assert spread_positives(scores(), 1, 0) == spread_positives(scores(), 0, 9) == []


def test_falls_are_read_as_they_were_written(tmp_path: Path) -> None:
    falls = Falls(["a", "b"], np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32))
    write_falls(tmp_path / "occlusion.parquet", falls, LABELS)
    found = read_falls(tmp_path / "occlusion.parquet", LABELS)
    assert found.ids == falls.ids
    np.testing.assert_array_equal(found.values, falls.values)
