from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
import torch
from torch.nn.functional import interpolate

from corpus.windows import Window
from ct.convert import Forms, content_hash, convert, resize
from ct.dicom import Encoding, Refused, Slice, read_slice
from ct.phantom_dicom import KINDS, stored_pixels
from tests.ct.files import SIDE, flat, real_slices

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
TWELVE = Encoding(1, -1024, 12, False)
SPACING = (0.5, 0.5)


def triangle(size: int, to: int) -> npt.NDArray[np.float64]:
    """to×size weights of the antialiased bilinear filter: a triangle, as wide as the reduction (1 at least)."""
    scale = max(size / to, 1.0)
    centre = (np.arange(to)[:, None] + 0.5) * size / to
    weights = np.maximum(0, 1 - np.abs(np.arange(size)[None] + 0.5 - centre) / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def textbook(hu: npt.NDArray[Any], low: float, high: float, side: int) -> npt.NDArray[np.float64]:
    """Window, then resize, in float64: 0 … 255, rounded."""
    shown = np.clip((hu.astype(np.float64) - low) / (high - low), 0, 1) * 255
    down, across = triangle(hu.shape[0], side), triangle(hu.shape[1], side)
    return np.asarray(np.round(down @ shown @ across.T))


def largest_difference(slice_: Slice, hu: npt.NDArray[Any], sides: tuple[int, ...], hu_side: int) -> float:
    made = convert(slice_, Forms(WINDOWS, sides, hu_side)).images
    assert set(made) == {*sides, hu_side}
    worst = 0.0
    for side in made:
        for channel, (low, high) in enumerate([*((w.low, w.high) for w in WINDOWS), (-150, 230)]):
            worst = max(worst, float(np.abs(made[side][..., channel] - textbook(hu, low, high, side)).max()))
    return worst


def test_values_are_the_textbooks_within_one_level() -> None:
    random = np.random.default_rng(0)
    smooth = 40 + 60 * np.sin(np.linspace(0, 9, 512))[:, None] * np.cos(np.linspace(0, 7, 512))[None]
    for hu in (
        random.integers(-1024, 1500, (512, 512)),
        smooth.round(),
        smooth.round() + random.integers(-3, 4, (512, 512)),
    ):
        slice_ = Slice((hu + 1024).astype(np.uint16), TWELVE, SPACING)
        assert largest_difference(slice_, hu, (96, 224), 192) <= 1


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("to", [(224, 224), (64, 300), (200, 150)])
def test_the_resize_is_torchs_own(channels: int, to: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 150, channels), np.uint8)
    whole = torch.from_numpy(image.transpose(2, 0, 1).copy())[None]
    expected = interpolate(whole, to, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(resize(image, *to), expected)


def test_a_smaller_slice_is_enlarged() -> None:
    stored = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) + 1000).astype(np.uint16)
    assert largest_difference(Slice(stored, TWELVE, SPACING), stored - 1024.0, (96,), 128) <= 1


def test_real_slices_equal_the_textbook() -> None:
    for path in real_slices()[::20]:
        dataset = pydicom.dcmread(path)
        hu = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert largest_difference(read_slice(path.read_bytes()), hu, (96, 224), 192) <= 1


def test_flat_slices_by_hand() -> None:
    made = convert(Slice(flat(1064), TWELVE, SPACING), Forms(WINDOWS, (16, 24), 32)).images  # 40 HU
    # brain 0 … 80: half; subdural -20 … 180: 60/200; soft tissue -150 … 230: half; HU range -150 … 230: half
    assert {tuple(pixel) for image in made.values() for pixel in image.reshape(-1, 4)} == {(128, 77, 128, 128)}


def test_a_bone_window_is_whole_beside_the_one_channel_form() -> None:
    """Brain, subdural and bone: -800 … 2000; one channel has the 510 HU about brain's level, -215 … 295."""
    forms = Forms((Window(40, 80), Window(80, 200), Window(600, 2800)), (16,), 16)
    for hu, expected in ((40, (128, 77, 77, 128)), (1300, (255, 255, 191, 255)), (-700, (0, 0, 9, 0))):
        image = convert(Slice(flat(hu + 1024), TWELVE, SPACING), forms).images[16]
        assert {tuple(pixel) for pixel in image.reshape(-1, 4).tolist()} == {expected}


def test_a_slice_that_is_not_square_lies_in_the_middle_of_air() -> None:
    stored = np.full((100, 60), 1064, np.uint16)
    image = convert(Slice(stored, TWELVE, SPACING), Forms(WINDOWS, (100,), 200)).images[100]
    assert (image[:, 20:80] == (128, 77, 128, 128)).all()
    assert not image[:, :20].any() and not image[:, 80:].any()
    # The next slice of that size finds none of this one in the buffers.
    assert not convert(Slice(stored * 0, TWELVE, SPACING), Forms(WINDOWS, (100,), 200)).images[100].any()


def test_air_is_shown_as_a_window_shows_it() -> None:
    low = Forms((Window(-1000, 100), Window(-1000, 200), Window(-1000, 400)), (80,), 80)
    image = convert(Slice(np.full((80, 40), 24, np.uint16), TWELVE, SPACING), low).images[80]  # -1000 HU beside -1024
    assert tuple(image[0, 0, :3]) == (66, 97, 112) and tuple(image[0, 40, :3]) == (128, 128, 128)


@pytest.mark.parametrize(("shape", "spacing"), [((100, 200), (1.0, 0.5)), ((200, 100), (0.5, 1.0))])
def test_pixels_are_made_square(shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    """A disc of 40 mm is as high as wide, wherever the scanner put more pixels."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    disc = np.hypot(y[:, None] * spacing[0], x[None] * spacing[1]) < 40
    slice_ = Slice(np.where(disc, 1200, 0).astype(np.uint16), TWELVE, spacing)
    image = convert(slice_, Forms(WINDOWS, (200,), 200)).images[200][..., 3] > 127
    assert abs(image.any(axis=1).sum() - 160) <= 2 and abs(image.any(axis=0).sum() - 160) <= 2
    nearly = slice_._replace(pixel_spacing=(0.5, 0.503))
    assert convert(nearly, Forms(WINDOWS, (200,), 200)).images[200].shape == (200, 200, 4)
    with pytest.raises(Refused, match="pixel-spacing"):
        convert(slice_._replace(pixel_spacing=(0.001, 1.0)), Forms(WINDOWS, (200,), 200))


def test_a_slice_that_square_pixels_would_make_too_large_is_refused() -> None:
    """Of 64 MB it would become one of 1.07 GB, where a worker has 400."""
    large = Slice(np.zeros((4096, 4096), np.uint16), TWELVE, (1.0, 0.25))
    with pytest.raises(Refused, match=r"too-large: pixels of 1 × 0\.25 mm would make 16384 × 4096 square ones"):
        convert(large, Forms(WINDOWS, (16,), 32))
    long = Slice(np.zeros((1024, 64), np.uint16), TWELVE, (1.0, 0.25))
    assert convert(long, Forms(WINDOWS, (16,), 32)).images[16].shape == (16, 16, 4)


def test_the_hash_is_that_of_the_hounsfield_units() -> None:
    hu = np.random.default_rng(0).integers(-900, 1500, (SIDE, SIDE)).astype(np.float32)
    forms = Forms(WINDOWS, (16,), 32)
    hashes = []
    for kind in ("implicit", "high_intercept", "decimal"):
        how = KINDS[kind]
        encoding = Encoding(1, float(how.intercept), 16 if how.signed else 12, how.signed)
        hashes.append(convert(Slice(stored_pixels(hu, how), encoding, SPACING), forms).pixels)
    assert len(set(hashes)) == 1 and len(hashes[0]) == 16 and int(hashes[0], 16)
    hu[3, 5] += 1
    assert content_hash(hu.astype(np.int16)) != hashes[0]
    assert content_hash(hu.astype(np.int16).reshape(SIDE * 2, SIDE // 2)) != content_hash(hu.astype(np.int16))


def test_slices_that_show_nothing_have_no_hash() -> None:
    forms = Forms(WINDOWS, (16,), 32)
    assert convert(Slice(flat(1064), TWELVE, SPACING), forms).pixels == ""
    air = np.random.default_rng(0).integers(-1024, -900, (SIDE, SIDE))
    assert convert(Slice((air + 1024).astype(np.uint16), TWELVE, SPACING), forms).pixels == ""
