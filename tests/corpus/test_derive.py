import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corpus import derive as room
from corpus import sharing
from corpus.derive import Batch, Pixels, collect, derive
from corpus.images import Images
from corpus.sharing import Share
from settings.errors import BadArtifact
from tests.gan.made import PHOTO_SIDE, make_corpora


@pytest.fixture
def source(tmp_path: Path) -> Images:
    make_corpora(tmp_path, photos=40)
    return Images(tmp_path / "artifacts/photos")


def red(batches: Iterator[Batch]) -> Iterator[Pixels]:
    return (batch.pixels[..., :1] for batch in batches)


def late(batches: Iterator[Batch]) -> Iterator[Pixels]:
    """Hands a batch on when the next has come, as on a GPU."""
    held: list[Pixels] = []
    for pixels in red(batches):
        held.append(pixels)
        if len(held) > 1:
            yield held.pop(0)
    yield from held


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".npy", ".png", ".parquet")}


def test_any_number_of_processes_writes_the_same(source: Images, tmp_path: Path) -> None:
    shape = (PHOTO_SIDE, PHOTO_SIDE, 1)
    for name in ("alone", "shared", "a", "b"):
        (tmp_path / name).mkdir()
    ranges = derive(source, shape, red, 7, tmp_path / "alone", Share(), "test")
    assert len(ranges) == 14 and ranges[-1][1] == 40
    others = [
        threading.Thread(target=derive, args=(source, shape, late, 7, tmp_path / "shared", Share(rank, 3), "test"))
        for rank in range(3)
    ]
    for other in others:
        other.start()
    for other in others:
        other.join()
    for work, out in (("alone", "a"), ("shared", "b")):
        collect(source, tmp_path / work, ranges, tmp_path / out, "hu", hu_range=[-150, 230], windows=[])
    assert shards(tmp_path / "a") == shards(tmp_path / "b")
    made = Images(tmp_path / "b", "hu")
    assert np.array_equal(made.shards.read(np.arange(40)), source.shards.read(np.arange(40))[..., :1])
    assert made.index.equals(source.index) and made.card["classes"] == ["n0", "n1"]


def test_who_waits_is_patient_with_a_shard_that_takes_long(
    source: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing.wait_for_files, "__defaults__", (1.5,))
    monkeypatch.setattr(sharing, "BEAT", 0.0)
    shape = (PHOTO_SIDE, PHOTO_SIDE, 1)
    derive(source, shape, red, 7, tmp_path, Share(), "test")
    missing = tmp_path / "images-00001.npy"
    expected = missing.read_bytes()
    missing.unlink()

    def slow(batches: Iterator[Batch]) -> Iterator[Pixels]:
        for pixels in red(batches):
            time.sleep(0.6)
            yield pixels

    other = threading.Thread(target=derive, args=(source, shape, slow, 1, tmp_path, Share(1, 2), "test"))
    other.start()
    derive(source, shape, red, 1, tmp_path, Share(0, 2), "test")
    other.join()
    assert missing.read_bytes() == expected


def test_a_contact_sheet_of_each_shard_shows_both(source: Images, tmp_path: Path) -> None:
    derive(source, (PHOTO_SIDE, PHOTO_SIDE, 1), red, 3, tmp_path, Share(), "test")
    assert len(list(tmp_path.glob("contact-*.png"))) == 14
    sheet = np.asarray(Image.open(tmp_path / "contact-00000.png"))
    photo, made = sheet[3:115, 3:115], sheet[3:115, 118:230]
    assert (photo.std(axis=2) > 3).any() and not made.std(axis=2).any()
    assert np.array_equal(photo[..., 0], made[..., 0])


def test_what_cannot_be_written_is_raised(source: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, number: int, rows: Pixels) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        derive(source, (PHOTO_SIDE, PHOTO_SIDE, 1), red, 3, tmp_path, Share(), "test")


def test_shards_of_another_number_of_images_are_refused(source: Images, tmp_path: Path) -> None:
    ranges = derive(source, (PHOTO_SIDE, PHOTO_SIDE, 1), red, 3, tmp_path, Share(), "test")
    np.save(tmp_path / "images-00013.npy", np.zeros((0, PHOTO_SIDE, PHOTO_SIDE, 1), np.uint8))
    (tmp_path / ".out.part").mkdir()
    with pytest.raises(BadArtifact, match="out: class n1 has 19 images for 20 photos"):
        collect(source, tmp_path, ranges, tmp_path / ".out.part", "hu")
