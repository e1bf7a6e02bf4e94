from pathlib import Path

import numpy as np
import torch
from PIL import Image

from corpus.windows import Window
from gan.samples import to_levels, write_grid
from tests.gan.made import images


def test_levels_are_the_stored_form() -> None:
    assert to_levels(torch.tensor([-1.2, -1.0, 0.0, 1.0, 1.2]).reshape(5, 1, 1, 1)).flatten().tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_grid_has_five_rows_and_shows_ct_in_its_window(tmp_path: Path) -> None:
    x = images(4, 96)
    half = torch.zeros_like(x)  # 40 HU: the middle of the brain window and of the range
    write_grid(tmp_path / "grid.png", x, half, x, half - 0.5, x, Window(40, 80), (-150, 230))
    sheet = np.asarray(Image.open(tmp_path / "grid.png").convert("L"))
    assert sheet.shape == (5 * 99 + 3, 4 * 99 + 3)
    assert abs(int(sheet[3 + 99 + 48, 50]) - 128) <= 2 and sheet[3 + 3 * 99 + 48, 50] == 0


def test_grid_of_three_channels_has_colours_and_the_first_window(tmp_path: Path) -> None:
    red = torch.full((2, 3, 96, 96), -1.0)
    red[:, 0] = 1
    write_grid(tmp_path / "grid.png", red, red, red, -red, red, Window(40, 80), (-150, 230))
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    rows = [sheet[3 + 99 * row + 48, 50].tolist() for row in range(5)]
    assert rows == [[255, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 0], [255, 0, 0]]
