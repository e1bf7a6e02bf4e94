import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corpus.manifest import write_manifest
from photos.folder import Folder, Unusable, open_folder, read_photo
from photos.parameters import Splits
from settings.errors import BadInput

SPLITS = Splits(train="train", val="val")


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(root: Path, files: dict[str, bytes]) -> Folder:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    write_manifest(root, root.parent / "photos.csv", root.parent / "memory.csv")
    return open_folder(root, root.parent / "photos.csv", SPLITS)


DOT = encoded(Image.new("RGB", (8, 8), (200, 30, 30)))


def test_classes_are_the_sorted_wnids_of_train(tmp_path: Path) -> None:
    folder = opened(
        tmp_path / "raw",
        {
            "train/n02/b.JPEG": DOT, "train/n01/a.jpg": DOT, "train/n03/c.png": DOT, "val/n03/d.png": DOT,
            "val/n00/unknown.png": DOT, "train/loose.png": DOT, "train/n01/notes.txt": b"x",
            "train/n01/deep/e.png": DOT, "elsewhere/n01/f.png": DOT,
            os.fsdecode(b"train/chi\xean/g.png"): DOT,
            "synset_words.txt": b"n01 tench, Tinca tinca\nn02 dog\n",
        },
    )  # fmt: skip
    assert folder.classes == ["n01", "n02", "n03"] and folder.class_names == ["tench", "dog", "n03"]
    assert [(p.part, p.label, p.path.name) for p in folder.photos] == [
        ("train", 0, "a.jpg"), ("train", 1, "b.JPEG"), ("train", 2, "c.png"), ("val", 2, "d.png"),
    ]  # fmt: skip
    assert sorted(r.rule for r in folder.rejects) == ["place", "place", "place", "suffix", "unknown-class"]
    assert folder.imagenet_index is None


def test_imagenets_index_needs_its_thousand_classes(tmp_path: Path) -> None:
    words = "".join(f"n{i:08d} thing {i}\n" for i in range(1000)).encode()
    files = {"train/n00000007/a.png": DOT, "train/n00000300/a.png": DOT, "val/n00000007/b.png": DOT}
    folder = opened(tmp_path / "raw", {**files, "synset_words.txt": words})
    assert folder.imagenet_index is not None and folder.imagenet_index[300] == "n00000300"
    assert folder.class_names == ["thing 7", "thing 300"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/n01/a.png": DOT, "val/n01/a.png": DOT}, "has 1 classes"),
        ({"train/n01/a.png": DOT, "train/n02/a.png": DOT, "val/a.png": DOT}, "has no photo of a class"),
    ],
)
def test_a_split_that_cannot_be_used(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        opened(tmp_path / "raw", files)


def test_splits_must_differ() -> None:
    with pytest.raises(ValueError, match="folder of their own"):
        Splits(train="train", val="train")


def test_a_wide_photo_gives_its_centre() -> None:
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 0, 255), (100, 0, 200, 100))
    photo = read_photo(encoded(image), 40)
    assert photo.shape == (40, 40, 3)
    assert (photo[:, 2:-2] == (0, 0, 255)).all()


def test_resizing_is_antialiased() -> None:
    board = np.indices((256, 256)).sum(0) % 2 * 255
    photo = read_photo(encoded(Image.fromarray(board.astype(np.uint8))), 32)
    assert np.abs(photo.astype(int) - 127.5).max() < 3  # without the filter: 0 and 255


def test_a_photo_of_the_right_size_is_left_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    assert np.array_equal(read_photo(encoded(Image.fromarray(pixels)), 24), pixels)


RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(RAMP)),  # one channel
        encoded(Image.fromarray(RAMP), "JPEG", quality=100),
        encoded(Image.fromarray(RAMP.astype(np.uint16) * 256)),  # 16 bits
        encoded(Image.fromarray(RAMP).convert("P")),
        encoded(Image.fromarray(RAMP).convert("RGB").convert("CMYK"), "JPEG", quality=100),
        encoded(Image.fromarray(RAMP), "GIF"),
    ],
    ids=["L", "L-jpeg", "I;16", "P", "CMYK", "GIF"],
)
def test_grey_in_any_mode_is_grey(content: bytes) -> None:
    photo = read_photo(content, 64).astype(int)
    assert photo.shape == (64, 64, 3)
    assert np.abs(photo - RAMP[..., None].astype(int)).max() <= 4


def test_what_is_transparent_is_white() -> None:
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[:, :8, 3] = 255
    photo = read_photo(encoded(Image.fromarray(layer)), 16)
    assert (photo[:, :8] == 0).all() and (photo[:, 8:] == 255).all()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"not a photo", "not-an-image"),
        (encoded(Image.effect_noise((64, 64), 60), "JPEG")[:900], "unreadable"),
        (encoded(Image.effect_noise((64, 64), 60))[:900], "unreadable"),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "mode"),
        (b"", "not-an-image"),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes, rule: str) -> None:
    with pytest.raises(Unusable) as refused:
        read_photo(content, 32)
    assert refused.value.rule == rule


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unusable) as refused:
        read_photo(encoded(Image.new("L", (30, 30))), 8)
    assert refused.value.rule == "too-large"


def test_real_photos(tmp_path: Path) -> None:
    if not (data := os.environ.get("SCOPEFORMER_REAL_DATA")):
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with imagenet/")
    root = Path(data) / "imagenet"
    write_manifest(root, tmp_path / "photos.csv", tmp_path / "memory.csv")
    folder = open_folder(root, tmp_path / "photos.csv", SPLITS)
    assert len(folder.classes) == 10 and folder.class_names[0] == "tench"
    assert len(folder.imagenet_index or []) == 1000 and not folder.rejects
    odd = open_folder(root, tmp_path / "photos.csv", Splits(train="sample", val="val1000"))
    for photo in odd.photos[:40]:
        assert read_photo(photo.path.read_bytes(), 64).shape == (64, 64, 3)
