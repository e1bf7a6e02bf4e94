import numpy as np
import pytest

from audit.consistency import consistency
from corpus.windows import Window, to_windows

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
RANGE = (-150.0, 230.0)


def test_windows_of_one_channel_are_exact() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)
    found = consistency(to_windows(levels, WINDOWS, *RANGE), WINDOWS, RANGE)
    assert found["residual"].tolist() == [0, 0, 0] and found["wrong"] == 0


def test_a_known_distance() -> None:
    """30 in one window alone is nearest to some level, by hand over all levels; -150 HU has 0 in all three."""
    pixel = np.zeros((1, 4, 4, 3), np.uint8)
    pixel[0, 0, 0] = 30, 0, 0
    table = to_windows(np.arange(256, dtype=np.uint8)[:, None, None, None], WINDOWS, *RANGE)[:, 0, 0].astype(float)
    expected = min(np.sqrt(((table - [30, 0, 0]) ** 2).mean(axis=1)))
    found = consistency(pixel, WINDOWS, RANGE)
    assert found["residual"][0] == pytest.approx(expected / 16) and found["wrong"] == pytest.approx(1 / 16)


def test_colours_are_no_hounsfield_units() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert consistency(colours, WINDOWS, RANGE)["wrong"] > 0.8
