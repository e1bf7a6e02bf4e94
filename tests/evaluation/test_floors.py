import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from corpus.windows import quantise
from evaluation.floors import hyperdense_areas, inside_skull, logistic, position_table, prevalences
from evaluation.metrics import auc
from tests.evaluation.made import head_slice


def test_prevalences() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0]], dtype=np.uint8)
    np.testing.assert_allclose(prevalences(truth), [2.5 / 4, 0.5 / 4])


def test_position_by_hand() -> None:
    truth = np.array([[1], [1], [0], [0]], dtype=np.uint8)
    table = position_table(truth, np.array([0.0, 0.49, 0.5, 1.0], dtype=np.float32), bins=2, smoothing=2)
    np.testing.assert_allclose(table, [[(2 + 2 * 0.5) / 4], [(0 + 2 * 0.5) / 4]])
    empty = position_table(truth, np.zeros(4), bins=2, smoothing=2)
    assert empty[1, 0] == 0.5  # a bin that train never saw has the prevalence


def test_inside_is_what_filling_the_skull_gives() -> None:
    hu = head_slice(64)
    bone = hu >= 180
    np.testing.assert_array_equal(inside_skull(hu, 180, 0), binary_fill_holes(bone) & ~bone)
    assert inside_skull(hu, 180, 2).sum() < inside_skull(hu, 180, 0).sum()


def test_the_largest_enclosed_region_is_taken() -> None:
    hu = head_slice(64)
    hu[30:34, 20:24] = 1000  # a calcified ring round one pixel inside the brain
    hu[31, 21] = 30
    inside = inside_skull(hu, 180, 0)
    assert inside[32, 45] and not inside[31, 21] and not inside[0, 0]


def test_open_bone_encloses_nothing() -> None:
    hu = head_slice(64)
    hu[32, :32] = 30
    hu[32, :8] = -1000  # the brain now reaches the air through a gap
    assert not inside_skull(hu, 180, 0).any()
    assert not inside_skull(np.full((8, 8), 1000.0), 180, 0).any()


def test_hyperdense_area_counts_blood_inside_the_skull_only() -> None:
    hu = np.stack([head_slice(64), head_slice(64, 0.15)])
    hu[0, :3, :3] = 60  # outside the head
    stored = quantise(hu, -150, 230)[..., None]
    areas = hyperdense_areas(stored, (-150, 230), (50, 90), 180, 0.02)
    assert areas[0] == 0
    assert areas[1] == pytest.approx(1000 * (hu[1] == 60).mean())


def test_logistic_keeps_the_order_and_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    score = rng.exponential(size=500)
    p = 1 / (1 + np.exp(-(2 * np.log1p(score) - 2)))
    train = np.stack([rng.random(500) < p, np.zeros(500)], axis=1).astype(np.uint8)
    answer = logistic(train, score, score)
    assert answer[:, 0].mean() == pytest.approx(train[:, 0].mean(), abs=1e-3)
    np.testing.assert_allclose(answer[:, 0], p, atol=0.12)
    assert auc(train[:, 0], answer[:, 0]) == auc(train[:, 0], score)
    assert (answer[:, 1] == 0.5 / 501).all()  # one class on train: its prevalence
