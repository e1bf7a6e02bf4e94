from typing import Any

import pytest

from evaluation.parameters import Evaluate, Floors
from settings.errors import BadParameter
from settings.loader import read_section
from tests.evaluation.simulated import PARAMETERS

GOOD: dict[str, Any] = {
    "position_bins": 8, "position_smoothing": 20, "hyperdense": [50, 90], "bone": 180, "erode": 0.02,
}  # fmt: skip


def test_good_ones_are_read() -> None:
    assert read_section(Floors, GOOD, "floors").hyperdense == (50, 90)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hyperdense": [90, 50]}, "must rise"),
        ({"bone": 80}, "below bone"),
        ({"clip": 1e-15}, "clip: unknown"),  # evaluate's
        ({"bins": 3}, "bins"),
    ],
)
def test_bad_ones_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameter, match=words):
        read_section(Floors, {**GOOD, **change}, "floors")


def test_nothing_is_held_at_0_itself() -> None:
    with pytest.raises(BadParameter, match=r"evaluate\.clip: "):
        read_section(Evaluate, {**PARAMETERS, "clip": 0}, "evaluate")
