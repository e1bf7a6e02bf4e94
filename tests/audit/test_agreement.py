import numpy as np
import pytest

from audit.agreement import agreement, grey, grey_windowed
from audit.intervals import share
from corpus.windows import Window

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
RANGE = (-150.0, 230.0)


def by_red(images: np.ndarray) -> np.ndarray:
    """A classifier that knows one thing: class 1 is brighter than 100 in the first channel."""
    red = images[..., 0].mean(axis=(1, 2))
    return np.stack([100 - red, red - 100, np.full_like(red, -1e3)], axis=1).astype(np.float32)


def test_agreement_counts_right_names() -> None:
    images = np.zeros((4, 4, 4, 3), np.uint8)
    images[2:] = 200
    found = agreement(by_red, {"photos": images, "dark": images * 0}, np.array([0, 1, 1, 1]), 0.95)
    assert found["photos"]["share"] == 0.75 and found["dark"]["share"] == 0.25 and found["chance"] == 1 / 3


def test_wilson_by_hand() -> None:
    z = 1.959964
    low, high = (
        (0.8 + z * z / 200 + sign * z * (0.16 / 100 + z * z / 40000) ** 0.5) / (1 + z * z / 100) for sign in (-1, 1)
    )
    found = share(np.arange(100) < 80, 0.95)
    assert found["share"] == 0.8 and found["n"] == 100
    assert found["low"] == pytest.approx(low, abs=1e-6) and found["high"] == pytest.approx(high, abs=1e-6)
    assert share(np.ones(5, bool), 0.95)["low"] < 1


def test_grey_is_luma_in_three_channels() -> None:
    photo = np.array([[[[255, 0, 0], [10, 20, 30]]]], dtype=np.uint8)
    assert grey(photo).tolist() == [[[[76, 76, 76], [18, 18, 18]]]]


def test_grey_through_the_chain_by_hand() -> None:
    """Luma 0, 128, 255 → -150, 40.7, 230 HU → 8 bits → the three windows."""
    photo = np.repeat(np.array([0, 128, 255], np.uint8)[None, None, :, None], 3, axis=-1)
    seen = grey_windowed(photo, WINDOWS, RANGE, RANGE)[0, 0]
    hu = -150 + 128 * 380 / 255
    middle = [round(255 * min(max((hu - w.low) / w.width, 0), 1)) for w in WINDOWS]
    assert seen.tolist() == [[0, 0, 0], middle, [255, 255, 255]]


def test_squeezed_photos_stay_in_their_range() -> None:
    photo = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=-1)
    brain = grey_windowed(photo, WINDOWS, RANGE, (20, 45))[..., 0]
    assert brain.min() >= (20 - 0.75) / 80 * 255 - 1 and brain.max() <= (45 + 0.75) / 80 * 255 + 1  # half a level
    assert (np.diff(brain.ravel().astype(int)) >= 0).all()
