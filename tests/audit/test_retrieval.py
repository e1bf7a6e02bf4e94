import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

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
