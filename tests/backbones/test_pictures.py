from pathlib import Path

import numpy as np
from PIL import Image

from backbones.pictures import confusion, scores
from ct.labels import LABELS


def test_a_picture_is_a_function_of_the_predictions(tmp_path: Path) -> None:
    truth = np.array([0, 0, 1, 1, 2])
    for name, predicted in (("a", [0, 0, 1, 1, 2]), ("b", [0, 0, 1, 1, 2]), ("c", [0, 1, 1, 1, 2])):
        confusion(tmp_path / f"{name}.png", truth, np.array(predicted), ["x", "y", "never seen"])
    a, b, c = (path.read_bytes() for path in sorted(tmp_path.glob("*.png")))
    assert a == b != c


def test_a_right_class_is_dark_and_off_the_diagonal_is_white(tmp_path: Path) -> None:
    everything = np.arange(30)
    confusion(tmp_path / "right.png", everything, everything, [str(n) for n in everything])
    confusion(tmp_path / "wrong.png", everything, np.zeros(30, int), [str(n) for n in everything])
    right, wrong = (np.array(Image.open(tmp_path / f"{name}.png").convert("RGB"), int) for name in ("right", "wrong"))
    blue = [
        (picture[:, : picture.shape[1] // 2, 2] - picture[:, : picture.shape[1] // 2, 0] > 60)
        for picture in (right, wrong)
    ]
    assert len(np.unique(np.nonzero(blue[0])[1])) > 4 * len(np.unique(np.nonzero(blue[1])[1]))


def test_a_label_without_a_positive_is_drawn_too(tmp_path: Path) -> None:
    truth = np.zeros((8, 6))
    truth[:4, 5] = 1
    scores(tmp_path / "scores.png", truth, np.random.default_rng(0).random((8, 6)), LABELS)
    assert Image.open(tmp_path / "scores.png").size[0] > 500
