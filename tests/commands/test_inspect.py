from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import inspect, inspect_ct
from tests.commands.made_slices import write_slices, write_split
from tests.commands.untouched import untouched


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (inspect, inspect_ct):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(inspect, "work_root", lambda: tmp_path / "work")
    monkeypatch.setattr(inspect.console, "_width", 250)
    return tmp_path


def test_slices_are_explained(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_slices(root)
    with untouched(root / "artifacts"):
        inspect.inspect(folder)
    text = capsys.readouterr().out
    assert "implicit LE, 12-bit unsigned" in text and "body-part" in text and "2 × not-ct: modality is MR" in text
    assert "split: none yet" in text and "slices by label" not in text
    # Every value is there equally often; the lowest is -150 HU, the next -150 + 40 / 255 * 380.
    assert "17% at or below -150, 0% at or above 230; between: 5/50/95 % -90/29/148" in text
    assert (root / "work/inspect/ct-hu-32-hu.png").exists()


def test_the_split_is_counted_and_only_train_and_val_are_pictured(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_slices(root)
    write_split(root)
    inspect.inspect(folder)
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "1", "2", *["0/0"] * 4, "1/1", "1/1"] in lines
    assert ["val", "1", "2", *["0/0"] * 4, "1/1", "1/1"] in lines
    assert ["test", "1", "2", *["0/0"] * 6] in lines
    sheet = np.asarray(Image.open(root / "work/inspect/ct-hu-32-labels.png").convert("L")).astype(int)
    cell, step, line = 160, 163, 176
    middles = sheet[3 + cell // 2 :: line, 3 + cell // 2 :: step]
    assert middles.shape == (6, 8)
    shown = {tuple(place): int(middles[tuple(place)]) for place in np.argwhere(middles)}
    # In 0 … 80 HU, values 40 and 120 of 255 over -150 … 230 are 0 and 92: patients 1 and 2, second slices.
    assert shown == {(4, 1): 92}
