from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image
from scipy.stats import spearmanr, wasserstein_distance

from corpus.images import Images, finish_images
from corpus.shards import write_shard
from photos import controls

RANDOM = np.random.default_rng(0)


def photos(count: int = 3, side: int = 32) -> npt.NDArray[np.uint8]:
    """Smooth random pictures."""
    small = RANDOM.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    size, smooth = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(each).resize(size, smooth)) for each in small])


def test_grey_is_pillows_luminance_at_any_side() -> None:
    images = photos()
    for side in (32, 20):
        expected = [np.asarray(Image.fromarray(each).convert("L").resize((side, side), 2)) for each in images]
        made = controls.grey(images, side)
        assert made.shape == (3, side, side, 1) and made.dtype == np.uint8
        assert np.abs(made[..., 0].astype(int) - np.stack(expected)).max() <= 1


def test_matched_photos_have_cts_distribution_in_the_photos_order() -> None:
    ct = RANDOM.gamma(4, 20, (5, 40, 40, 1)).clip(0, 255).astype(np.uint8)
    ct[:, :10] = 0  # a quarter is air
    grey = controls.grey(photos(side=64), 64)
    made = controls.match_histogram(grey, controls.level_shares(ct))
    for before, after in zip(grey, made, strict=True):
        assert abs((after == 0).mean() - 0.25) < 0.03
        assert (
            wasserstein_distance(after.ravel(), ct.ravel()) < 2 < 30 < wasserstein_distance(before.ravel(), ct.ravel())
        )
        order = np.argsort(before.ravel(), kind="stable")
        assert (np.diff(after.ravel()[order].astype(int)) >= 0).all(), "what was brighter stays so"
    assert spearmanr(grey[0].ravel(), made[0].ravel()).statistic > 0.98


def fda(image: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], beta: float) -> npt.NDArray[np.float64]:
    """As the paper's authors wrote it: the square round the middle of the shifted amplitudes."""
    own, theirs = (np.fft.fft2(some.astype(float)) for some in (image, other))
    amplitude, target = np.fft.fftshift(np.abs(own)), np.fft.fftshift(np.abs(theirs))
    height, width = image.shape
    half = int(np.floor(min(height, width) * beta))
    rows, columns = slice(height // 2 - half, height // 2 + half + 1), slice(width // 2 - half, width // 2 + half + 1)
    amplitude[rows, columns] = target[rows, columns]
    return np.fft.ifft2(np.fft.ifftshift(amplitude) * np.exp(1j * np.angle(own))).real


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_amplitudes_are_swapped_as_in_fda(share: float) -> None:
    grey, views = controls.grey(photos(), 32), controls.grey(photos(), 32)
    made = controls.swap_amplitude(grey, views, share)
    for image, view, found in zip(grey[..., 0], views[..., 0], made[..., 0], strict=True):
        assert np.abs(fda(image, view, share).clip(0, 255) - found).max() <= 0.51
    own = controls.swap_amplitude(grey, grey, share)
    assert np.abs(own.astype(int) - grey).max() <= 1, "its own amplitude changes nothing"


def test_a_photos_view_depends_on_seed_and_id_alone() -> None:
    ids = [f"photo{i}" for i in range(60)]
    chosen = controls.choose_views(ids, 7, seed=0)
    assert set(chosen) == set(range(7))
    assert (controls.choose_views(ids[::-1], 7, seed=0) == chosen[::-1]).all()
    assert (controls.choose_views(ids, 7, seed=1) != chosen).any()


def translated(folder: Path) -> Path:
    folder.mkdir()
    label = np.arange(40) % 4
    for number in range(2):
        write_shard(folder, number, RANDOM.integers(0, 256, (20, 16, 16, 1), dtype=np.uint8))
    index = {"id": [f"p{i}" for i in range(40)], "part": ["train"] * 28 + ["val"] * 12, "label": label.astype(np.int32)}
    index |= {"wnid": [f"n{i}" for i in label], "name": [f"s{i}" for i in range(40)]}
    content = {
        "hu_range": [-150, 230],
        "windows": [[40, 80], [80, 200], [40, 380]],
        "class_names": ["a", "b", "c", "d"],
    }
    finish_images(folder, "hu", pa.table(index), [], classes=["n0", "n1", "n2", "n3"], **content)
    return folder


def test_only_the_classes_are_permuted_and_within_their_part(tmp_path: Path) -> None:
    source = translated(tmp_path / "translated")
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        assert controls.permute_corpus(source, seed, tmp_path / name) == 40
    before, one, again, other = (Images(tmp_path / name, "hu") for name in ("translated", "one", "again", "other"))
    assert one.card == before.card and one.index.equals(again.index) and not one.index.equals(other.index)
    assert all(one.column(name) == before.column(name) for name in ("id", "part", "name"))
    for part in ("train", "val"):
        old, new = (
            [label for label, where in zip(some.column("label"), some.column("part"), strict=True) if where == part]
            for some in (before, one)
        )
        assert sorted(new) == sorted(old) and new != old
    assert one.column("wnid") == [f"n{label}" for label in one.column("label")]
    for shard in source.glob("images-*.npy"):
        assert shard.samefile(tmp_path / "one" / shard.name), "the pixels are the same file"
