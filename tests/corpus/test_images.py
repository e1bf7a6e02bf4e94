from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.card import read_card, write_card
from corpus.images import Images, Reject, finish_images
from corpus.shards import shard_path, write_shard
from settings.errors import BadArtifact


def make(folder: Path, count: int = 5) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, (count, 8, 8, 1), dtype=np.uint8)
    write_shard(folder, 0, pixels)
    finish_images(
        folder, "hu", pa.table({"id": [f"i{n}" for n in range(count)]}),
        [Reject("b", "truncated", "x"), Reject("a", "y", "z")],
        hu_range=[-150, 230], windows=[[40, 80], [80, 200], [40, 380]],
    )  # fmt: skip
    return pixels


def test_what_was_written_is_read(tmp_path: Path) -> None:
    pixels = make(tmp_path)
    images = Images(tmp_path, "hu")
    assert len(images) == 5 and images.side == 8 and images.card["rejected"] == 2
    np.testing.assert_array_equal(images.shards.read(images.rows_of(["i3", "i0"])), pixels[[3, 0]])
    windows = images.read_windows([1])
    assert windows.shape == (1, 8, 8, 3) and windows.dtype == np.uint8
    # brain window 0…80 HU: value v is v·380/255 - 150 HU
    hu = pixels[1, ..., 0] * (380 / 255) - 150
    np.testing.assert_allclose(windows[0, ..., 0], np.clip(hu / 80, 0, 1) * 255, atol=0.51)
    assert (tmp_path / "rejects.csv").read_text() == "id,rule,reason\na,y,z\nb,truncated,x\n"
    assert (tmp_path / "contact.png").exists()


def test_unlike_index_and_shards_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    shard_path(tmp_path, 0).unlink()
    write_shard(tmp_path, 0, np.zeros((4, 8, 8, 1), np.uint8))
    with pytest.raises(BadArtifact, match="5 index rows for 4 images"):
        Images(tmp_path)
    with pytest.raises(BadArtifact, match="expected photos"):
        Images(tmp_path, "photos")


def test_an_id_of_other_data_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(BadArtifact, match="'zz'"):
        Images(tmp_path).rows_of(["zz"])


def test_cards(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"no card\.json"):
        read_card(tmp_path)
    write_card(tmp_path, "classifier", classes=3)
    assert read_card(tmp_path, "classifier")["classes"] == 3
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(BadArtifact, match="damaged"):
        read_card(tmp_path)
