import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image
from torchvision.datasets import ImageFolder

from commands import export as room
from commands.export import export, file_names
from corpus.images import Images, finish_images
from corpus.shards import write_shard
from pipeline import main
from settings.errors import BadParameter
from tests.commands.untouched import untouched

HU_RANGE, WINDOWS = [-150, 230], [[40, 80], [80, 200], [40, 380]]


@pytest.fixture(autouse=True)
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEFORMER_WORKERS", "1")
    room._open.cache_clear()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six images in two parts and two classes; two of one class have one name."""
    folder = tmp_path / "translated"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), dtype=np.uint8)
    write_shard(folder, 0, pixels[:4])
    write_shard(folder, 1, pixels[4:])
    label = [0, 0, 1, 1, 0, 1]
    index = {
        "id": [f"i{n}" for n in range(6)], "part": ["train"] * 4 + ["val"] * 2, "label": pa.array(label, pa.int32()),
        "wnid": [f"n{n}" for n in label], "name": ["a", "b", "c", "c", "a", "c"],
    }  # fmt: skip
    content: dict[str, Any] = {
        "hu_range": HU_RANGE,
        "windows": WINDOWS,
        "classes": ["n0", "n1"],
        "class_names": ["dog", "cat"],
    }
    finish_images(folder, "hu", pa.table(index), [], **content)
    return folder


def test_it_is_an_image_folder_of_lossless_windows(corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "there/out"
    with untouched(corpus):
        export(corpus, target, one_channel=False)
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.png"))
    assert names == ["train/n0/a.png", "train/n0/b.png", "train/n1/c-i2.png", "train/n1/c-i3.png", "val/n0/a.png",
                     "val/n1/c.png"]  # fmt: skip
    images = Images(corpus)
    for name, row in zip(file_names(images), range(6), strict=True):
        assert np.array_equal(np.asarray(Image.open(target / name)), images.read_windows([row])[0])
    assert ImageFolder(str(target / "train")).targets == [0, 0, 1, 1]
    assert json.loads((target / "export.json").read_text())["class_names"] == ["dog", "cat"]


def test_the_hu_channel_itself(corpus: Path, tmp_path: Path) -> None:
    export(corpus, tmp_path / "out", one_channel=True)
    image = Image.open(tmp_path / "out/val/n1/c.png")
    assert image.mode == "L" and np.array_equal(np.asarray(image), Images(corpus).shards.read([5])[0, ..., 0])


def test_a_killed_export_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "CHUNK", 2)
    written = room.write_chunk

    def dies(chunk: room.Chunk) -> int:
        if chunk.rows == [2, 3]:
            raise KeyboardInterrupt
        return written(chunk)

    monkeypatch.setattr(room, "write_chunk", dies)
    with pytest.raises(KeyboardInterrupt):
        export(corpus, tmp_path / "out", one_channel=False)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert len(times) == 2
    (tmp_path / "out/train/n1/c-i2.part").write_text("half")
    monkeypatch.setattr(room, "write_chunk", written)
    export(corpus, tmp_path / "out", one_channel=False)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6 and not list((tmp_path / "out").rglob("*.part"))
    shown = capsys.readouterr().out
    assert "2 of 6 files are there already" in shown and "export: 4/4 files" in shown and "0:00 left" in shown


def test_folders_that_hold_something_else_are_left_alone(corpus: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "holiday.png").write_text("x")
    with pytest.raises(BadParameter, match="is not empty and no export"):
        export(corpus, foreign, one_channel=False)
    assert [path.name for path in foreign.iterdir()] == ["holiday.png"]
    export(corpus, tmp_path / "out", one_channel=False)
    with pytest.raises(BadParameter, match="another corpus or form"):
        export(corpus, tmp_path / "out", one_channel=True)
    card = json.loads((corpus / "card.json").read_text())
    (corpus / "card.json").write_text(json.dumps({**card, "hu_range": [-100, 230]}))
    with pytest.raises(BadParameter, match="another corpus or form"):
        export(corpus, tmp_path / "out", one_channel=False)


def test_what_has_no_classes_cannot_be_exported(corpus: Path, tmp_path: Path) -> None:
    images = Images(corpus)
    images.index = images.index.drop_columns(["wnid"])
    with pytest.raises(BadParameter, match="no column 'wnid'"):
        file_names(images)


def test_the_command_says_what_it_needs(corpus: Path, tmp_path: Path) -> None:
    nothing = CliRunner().invoke(main, ["export"])
    assert nothing.exit_code == 2 and "name the folder" in nothing.output
    done = CliRunner().invoke(main, ["export", str(tmp_path / "out"), "--corpus", str(corpus)])
    assert done.exit_code == 0 and "6 images of 2 classes" in done.output
