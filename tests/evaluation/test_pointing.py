import csv
from pathlib import Path

import numpy as np
import pytest

from corpus.images import Images
from evaluation.falls import Falls
from evaluation.parameters import Intervals
from evaluation.pointing import Truth, brightest, coverage, play, read_masks, truth_on, write_pointing
from tests.evaluation.made import HU_SIDE, LABELS, head_slice, make_split, write_lesions

INTERVALS = Intervals(replicates=200, confidence=0.9, seed=0)
GRID = (3, 2)


def test_coverage_is_the_mean_of_each_block() -> None:
    mask = np.random.default_rng(0).random((12, 10)) < 0.4
    np.testing.assert_allclose(coverage(mask, GRID), mask.reshape(3, 4, 2, 5).mean(axis=(1, 3)))
    assert coverage(np.eye(5, dtype=bool), (2, 2)).tolist() == [[3 / 9, 0], [0, 2 / 4]], "also where it is uneven"


def test_the_brightest_brain_is_neither_bone_nor_outside() -> None:
    hu = head_slice(64, 0.1)  # a disc of 60 HU right of the middle; the bone around has 1000
    row, column = divmod(brightest(hu, (8, 8)), 8)
    assert (row, column) in ((3, 4), (4, 4))
    assert brightest(np.full((64, 64), -1000.0), (4, 4)) == 10, "the middle where there is no brain"


def made(hits: list[bool]) -> tuple[Falls, Truth, dict[str, list[str]], dict[str, str]]:
    """A slice a patient with blood on two of six places, the first row; a fall is deepest there where it hits."""
    ids = [f"s{n}" for n in range(len(hits))]
    values = np.zeros((len(ids), len(LABELS), *GRID), np.float32)
    for n, hit in enumerate(hits):
        values[n, :, 0 if hit else 2, n % 2] = 1
        values[n, :, 1, 1] = -9  # rises, however large, are no falls
    blood = np.zeros(GRID, bool)
    blood[0] = True
    truth = Truth({id_: dict.fromkeys(LABELS, blood) for id_ in ids}, {id_: n % 6 for n, id_ in enumerate(ids)})
    return Falls(ids, values), truth, dict.fromkeys(LABELS, ids), {id_: f"p{id_}" for id_ in ids}


def test_the_game_counts_hits_and_what_guesses_reach(tmp_path: Path) -> None:
    falls, truth, positives, patients = made([True] * 9 + [False] * 3)
    found = play("v", falls, positives | {"epidural": []}, patients, truth, LABELS, INTERVALS)
    game = next(row for row in found if row.label == "any")
    assert (game.slices, game.patients, game.places) == (12, 12, "3×2")
    assert game.hit and game.chance and game.above_chance and game.middle and game.brightest
    assert game.hit.value == 0.75 and game.chance.value == pytest.approx(1 / 3)
    assert game.above_chance.value == pytest.approx(0.75 - 1 / 3) and game.above_chance.low > 0
    assert game.hit.low == pytest.approx(0.75 - 1.796 * (0.75 * 0.25 / 12) ** 0.5, abs=0.03), "Student's, by hand"
    assert game.middle.value == 0 and game.brightest.value == pytest.approx(4 / 12)
    assert found[0].label == "epidural" and found[0].hit is None and found[0].slices == 0
    write_pointing(tmp_path / "pointing.csv", found)
    with (tmp_path / "pointing.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert float(rows["any"]["hit"]) == 0.75 and rows["epidural"]["hit_low"] == ""


def test_a_head_that_looks_anywhere_has_chance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    falls, truth, positives, patients = made([True] * 600)
    found = play("v", Falls(falls.ids, rng.normal(size=falls.values.shape).astype(np.float32)), positives, patients,
                 truth, LABELS, INTERVALS)  # fmt: skip
    game = found[-1]
    assert game.above_chance and abs(game.above_chance.value) < 3 * 0.02


def test_masks_are_padded_as_slices_are(tmp_path: Path) -> None:
    """The disc of `write_lesions` lies where `make_split` draws blood: on the picture's own bright pixels."""
    make_split(tmp_path)
    write_lesions(tmp_path / "masks", tmp_path / "artifacts/split/labels-test.parquet")
    images = Images(tmp_path / f"artifacts/ct/hu-{HU_SIDE}", "hu")
    ids = images.column("id")
    masks = read_masks(tmp_path / "masks", ids, LABELS, hashed=True)
    assert masks and all("any" in of and of["any"].shape == (64, 64) for of in masks.values())
    truth = truth_on((8, 8), masks, images)
    one = next(iter(masks))
    assert truth.blood[one]["any"].flat[truth.bright[one]], "the brightest place is the blood"
