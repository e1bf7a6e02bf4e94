from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import show
from settings.errors import BadParameter
from tests.commands.made_slices import IDS, write_slices, write_split
from tests.commands.untouched import untouched


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("prepare_ct: {hu_side: 32}\n")
    write_slices(tmp_path)
    monkeypatch.setattr(show, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_three_windows_side_by_side(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with untouched(root / "artifacts"):
        show.show(IDS[3], None)
    path = root / f"{IDS[3]}.png"
    assert capsys.readouterr().out.strip() == str(path)
    pixels = np.asarray(Image.open(path))
    # 120 of 255 over -150 … 230 is 28.8 HU: in 0 … 80, -20 … 180 and -150 … 230
    middles = [pixels[100, 192 + 384 * n].tolist() for n in range(3)]
    assert middles == [[92] * 3, [62] * 3, [120] * 3]


def test_a_raw_id_is_found_by_its_hash(root: Path) -> None:
    show.show("ID_3", Path("other/slice.png"))
    show.show(IDS[3], None)
    assert (root / "other/slice.png").read_bytes() == (root / f"{IDS[3]}.png").read_bytes()
    with pytest.raises(BadParameter, match=r"hu-32 has no slice 'ID_77'.* among 6"):
        show.show("ID_77", None)


def test_the_caption_has_part_and_labels(root: Path) -> None:
    assert show._words(IDS[3]) == "no labels yet (dvc repro split-ct)"
    show.show(IDS[3], Path("before.png"))
    write_split(root)
    assert show._words(IDS[3]) == "val: subdural, any"
    assert show._words(IDS[2]) == "val: no haemorrhage"
    assert show._words(IDS[5]) == "no label known"
    show.show(IDS[3], Path("after.png"))
    before, after = (np.asarray(Image.open(root / f"{name}.png")) for name in ("before", "after"))
    assert np.array_equal(before[:384], after[:384]) and not np.array_equal(before[384:], after[384:])
