import numpy as np
import pytest

from ct.stratify import stratify


def test_big_series_do_not_empty_a_part_of_slices() -> None:
    """Five patients with 36 slices among eighteen with one: no part may get only the small ones."""
    weight = np.array([36] * 5 + [1] * 18)
    part = stratify([str(n) for n in range(23)], np.zeros((23, 6), bool), weight, [0.8, 0.2], "x")
    assert weight[part == 1].sum() / weight.sum() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("have", [2, 3, 7])
def test_a_label_of_as_many_members_as_parts_is_in_each_of_them(have: int) -> None:
    positive = np.zeros((200, 6), bool)
    positive[np.random.default_rng(have).permutation(200)[:have], 0] = True
    part = stratify([str(n) for n in range(200)], positive, np.ones(200, np.int64), [0.9, 0.1], "x")
    assert set(part[positive[:, 0]]) == {0, 1} and (part == 1).sum() == 20


def test_nobody_is_dealt_to_nothing() -> None:
    assert stratify([], np.zeros((0, 6), bool), np.zeros(0, np.int64), [0.5, 0.5], "x").shape == (0,)
