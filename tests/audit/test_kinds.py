import numpy as np

from audit.kinds import Pair, as_seen, grey, grey_windowed, kinds
from corpus.windows import Window

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
RANGE = (-150.0, 230.0)


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


def test_every_form_has_the_same_photos() -> None:
    random = np.random.default_rng(0)
    photos = Pair(*(random.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) for n in (3, 2)))
    one, free = (Pair(*(random.integers(0, 256, (n, 4, 4, c), dtype=np.uint8) for n in (3, 2))) for c in (1, 3))
    found = kinds(photos, one, {"restyled": one, "free": free}, WINDOWS, RANGE, (20, 45))
    assert list(found) == ["photos", "grey", "grey_windowed", "grey_squeezed", "translated", "restyled", "free"]
    assert all(pair.train.shape[::3] == (3, 3) and pair.held_out.shape[::3] == (2, 3) for pair in found.values())
    assert np.array_equal(found["translated"].train, as_seen(one.train, WINDOWS, RANGE))
    assert found["free"].train is free.train  # three channels are windows already
