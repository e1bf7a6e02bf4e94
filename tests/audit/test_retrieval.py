import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from audit.degrade import degrade, luminance
from audit.retrieval import correlations, gradients, retrieved

N = 40


def scenes(side: int = 64) -> np.ndarray:
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (N, side, side))
    smooth = np.stack([gaussian_filter(image, side / 16) for image in noise])
    return (127 + 60 * smooth / smooth.std()).clip(0, 255).astype(np.float32)


PHOTOS = scenes()


@pytest.mark.parametrize("cells", [8, 32])
@pytest.mark.parametrize(
    "change", [lambda x: x, lambda x: 255 - x, lambda x: 100 + x / 10], ids=["same", "inverted", "faint"]
)
def test_what_keeps_the_layout_is_found(cells: int, change: object) -> None:
    assert retrieved(PHOTOS, change(PHOTOS), cells).all()  # type: ignore[operator]


def test_the_side_may_differ() -> None:
    assert retrieved(PHOTOS, zoom(PHOTOS, (1, 0.5, 0.5), order=1), 8).all()


def test_others_photos_are_not_found() -> None:
    assert not retrieved(PHOTOS, np.roll(PHOTOS, 1, axis=0), 8).any()


def test_one_blob_for_all_is_found_by_chance() -> None:
    random = np.random.default_rng(1)
    blob = np.repeat(PHOTOS[:1], N, axis=0) + random.normal(0, 1, PHOTOS.shape).astype(np.float32)
    assert retrieved(PHOTOS, blob, 8).sum() == 1  # its own photo
    shares = []
    for seed in range(100, 130):  # a grey field with noise, none of the photos
        noise = np.random.default_rng(seed).normal(0, 1, PHOTOS.shape).astype(np.float32)
        shares.append(retrieved(PHOTOS, 127 + noise, 8).mean())
    assert abs(np.mean(shares) - 1 / N) < 0.015  # sd of the mean 0.0045


def test_a_flat_picture_is_not_found() -> None:
    assert not retrieved(PHOTOS, np.full_like(PHOTOS, 7), 8).any()


def test_gradients_by_hand() -> None:
    image = np.kron(np.array([[1, 2], [4, 8]]), np.ones((3, 3))).astype(np.float32)[None]
    assert gradients(image, 2).tolist() == [[1, 4, 3, 6]]


def test_correlations_are_pearsons() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(size=(3, 20)).astype(np.float32), random.normal(size=(4, 20)).astype(np.float32)
    assert np.allclose(correlations(a, b), np.corrcoef(a, b)[:3, 3:], atol=1e-6)


def test_luminance_is_rec_601() -> None:
    image = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 200, 200]]]], dtype=np.uint8)
    assert np.allclose(luminance(image)[0, 0], [76.245, 149.685, 29.07, 200], atol=1e-3)


def test_degrading_blurs_alike_at_any_side() -> None:
    for side in (48, 96):
        image = np.zeros((1, side, side, 1), np.uint8)
        image[:, :, side // 2 :] = 200
        profile = degrade(image, 3.0, 0.0, 0)[0, side // 2, :, 0].astype(float)
        at = np.interp([50, 100], profile, np.arange(side))  # 25 % and 50 % of the step
        assert abs((at[1] - at[0]) / side - 0.6745 * 3 / 96) < 0.003  # quartile of the normal distribution


def test_the_blur_is_scipys() -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 40, 40, 2)).astype(np.uint8)
    expected = gaussian_filter(images.astype(float), (0, 1.25, 1.25, 0), mode="nearest")
    assert np.abs(degrade(images, 3.0, 0.0, 0) - expected).max() <= 0.5 + 1e-3, "rounded to 8 bits"


def test_degrading_adds_the_noise_it_says() -> None:
    grey = np.full((4, 64, 64, 3), 120, np.uint8)
    noised = degrade(grey, 0.0, 13.0, 5)
    assert abs(noised.std() - 13) < 0.2 and abs(noised.mean() - 120) < 0.2
    assert np.array_equal(noised, degrade(grey, 0.0, 13.0, 5)) and not np.array_equal(
        noised, degrade(grey, 0.0, 13.0, 6)
    )
    assert abs(np.corrcoef(noised[..., 0].ravel(), noised[..., 1].ravel())[0, 1]) < 0.05
