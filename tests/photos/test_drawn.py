from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from photos.drawn import draw_photo, part, wnid, write_folder
from photos.objects import KINDS
from photos.parameters import Drawn

SMALL = Drawn(classes=3, per_class=4, held_out_share=0.25, seed=1)


def test_a_photo_is_a_function_of_seed_class_and_number() -> None:
    first = draw_photo(0, 3, 7, 48)
    np.random.default_rng(0).random(5)  # no state in between matters
    assert first.shape == (48, 48, 3) and first.dtype == np.uint8
    assert np.array_equal(first, draw_photo(0, 3, 7, 48))
    for other in ((1, 3, 7), (0, 4, 7), (0, 3, 8)):
        assert not np.array_equal(first, draw_photo(*other, 48))


@pytest.mark.parametrize("label", range(len(KINDS)))
@pytest.mark.parametrize("side", [33, 64])
def test_every_kind_shows_something_at_any_side(label: int, side: int) -> None:
    photos = np.stack([draw_photo(5, label, number, side) for number in range(3)]).astype(float)
    assert photos.shape == (3, side, side, 3)
    assert photos.std(axis=(1, 2)).max(axis=1).min() > 8  # contrast in every photo
    rows = np.abs(np.diff(photos, axis=1)).mean()
    shuffled = np.random.default_rng(0).permutation(photos.reshape(-1, 3)).reshape(photos.shape)
    assert rows < 0.6 * np.abs(np.diff(shuffled, axis=1)).mean()  # a scene, not noise


def test_mean_colour_does_not_tell_the_class() -> None:
    photos = np.stack([[draw_photo(0, label, number, 32) for number in range(40)] for label in range(10)])
    colour = photos.mean(axis=(2, 3)) / 255
    fit, held_out = colour[:, :28].reshape(-1, 3), colour[:, 28:].reshape(-1, 3)
    score = LogisticRegression(C=100, max_iter=1000).fit(fit, np.repeat(np.arange(10), 28)).score(
        held_out, np.repeat(np.arange(10), 12)
    )  # fmt: skip
    assert score < 0.2  # chance 0.1, sd 0.03


def test_the_last_photos_of_each_class_are_held_out() -> None:
    assert [part(SMALL, number) for number in range(4)] == ["train", "train", "train", "val"]
    assert Drawn(classes=2, per_class=2, held_out_share=0.01, seed=0).held_out == 1
    assert Drawn(classes=2, per_class=2, held_out_share=0.99, seed=0).held_out == 1
    assert wnid(0) == "n90000001" and wnid(11) < "n90000013"


def test_a_folder_as_imagenet_has_it(tmp_path: Path) -> None:
    write_folder(tmp_path, SMALL, 32)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert len(found) == 12
    assert found[0] == "train/n90000001/n90000001_00000.png" and found[-1] == "val/n90000003/n90000003_00003.png"
    assert (tmp_path / "synset_words.txt").read_text().splitlines()[1] == "n90000002 ladder"
