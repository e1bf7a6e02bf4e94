from pathlib import Path

import numpy as np
import torch
from PIL import Image

from audit.samples import ct_views, spread_over_classes, three_and_first, write_grid
from corpus.windows import Window, to_windows

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))


def test_photos_are_dealt_class_by_class() -> None:
    labels = [0, 0, 0, 1, 1, 2]
    assert spread_over_classes(labels, np.arange(6), 4).tolist() == [0, 3, 5, 1]
    assert spread_over_classes(labels, np.array([1, 2, 4]), 9).tolist() == [1, 4, 2]


def head(side: int = 96) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    inside = np.hypot(x, y) < side * 0.4
    return np.where(inside, 130, 0).astype(np.uint8)[None, ..., None].repeat(5, axis=0)


def test_crops_lie_inside_the_head_and_the_whole_does_not() -> None:
    state = torch.get_rng_state()
    crops, rows = ct_views(head(), "crops", (2.0, 3.0), 0.6, 32, seed=3)
    assert crops.shape == (5, 32, 32, 1) and rows.tolist() == [0, 1, 2, 3, 4] and crops.dtype == np.uint8
    assert (crops > 60).mean(axis=(1, 2, 3)).min() > 0.5
    assert np.array_equal(crops, ct_views(head(), "crops", (2.0, 3.0), 0.6, 32, seed=3)[0])
    assert torch.equal(state, torch.get_rng_state())  # the global generator is left as it was
    whole, _ = ct_views(head(), "full", (2.0, 3.0), 0.6, 96, seed=3)
    assert np.abs(whole.astype(int) - head()).max() <= 1


def test_the_grid(tmp_path: Path) -> None:
    photos = np.full((3, 20, 20, 3), 90, np.uint8)
    seen = to_windows(head()[:2], WINDOWS, -150, 230)
    rows = [(["a", "b", "c"], photos), *three_and_first("CT", seen, WINDOWS)]
    assert [captions for captions, _ in rows[1:]] == [["CT, windows"], ["CT, 40/80 HU"]]
    assert (rows[2][1][..., 0] == seen[..., 0]).all() and (rows[2][1][..., 2] == seen[..., 0]).all()
    write_grid(tmp_path / "grid.png", rows, cell=40)
    width, height = Image.open(tmp_path / "grid.png").size
    assert 3 * 40 < width < 4 * 40 and 3 * 40 < height < 4.5 * 40


def test_slices_of_almost_nothing_are_left_out() -> None:
    slices = head()
    slices[[1, 4]] = 0
    slices[1, 90:, :] = 140
    crops, rows = ct_views(slices, "crops", (1.0, 2.0), 0.6, 32, seed=0)
    assert rows.tolist() == [0, 2, 3] and len(crops) == 3
    assert len(ct_views(slices * 0, "crops", (1.0, 2.0), 0.6, 32, seed=0)[1]) == 5
    assert len(ct_views(slices, "full", (1.0, 2.0), 0.6, 32, seed=0)[1]) == 5
