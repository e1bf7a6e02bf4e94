"""What an observer who cannot see faint detail sees: images blurred and noised before they are judged.

A translator can hide a photo in contrast too faint to be seen (steganography); what is hidden so does not survive this.
"""

import numpy as np
import numpy.typing as npt

from corpus.windows import LUMINANCE

BLUR_SIDE = 96  # pixels: the side at which a blur's sigma is given


def luminance(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """n×H×W×3 uint8 → n×H×W float32, 0…255: luma of RGB, or of three windows as a network sees them."""
    return images.astype(np.float32) @ np.array(LUMINANCE, dtype=np.float32)


def degrade(images: npt.NDArray[np.uint8], blur: float, noise_sd: float, seed: int) -> npt.NDArray[np.uint8]:
    """Images (n×H×W×C uint8) after a Gaussian blur, then white noise, then rounding to 8 bits.

    `blur`: sigma in pixels of an image of side 96, scaled to the images' own side, so that it removes the same detail
    at any side. `noise_sd`: in 8-bit levels, independent for each pixel and channel.
    """
    import torch
    from kornia.filters import gaussian_blur2d

    sigma = blur * images.shape[1] / BLUR_SIDE
    side = 2 * round(4 * sigma) + 1  # of the kernel: what lies beyond four sigmas is 6·10⁻⁵ of it
    random = np.random.default_rng(seed)
    out = np.empty_like(images)
    for start in range(0, len(images), 64):
        part = images[start : start + 64].astype(np.float32)
        if sigma:
            planes = torch.from_numpy(part).permute(0, 3, 1, 2)
            part = gaussian_blur2d(planes, side, (sigma, sigma), "replicate").permute(0, 2, 3, 1).numpy()
        noised = part + np.float32(noise_sd) * random.standard_normal(part.shape, dtype=np.float32)
        out[start : start + 64] = (noised + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return out
