import numpy as np
from scipy.ndimage import gaussian_filter

from audit.degrade import degrade, luminance


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
