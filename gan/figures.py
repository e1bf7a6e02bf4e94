"""Figures that tell what a translator does to its images; `gan/watch.py` says which of them are alarming.

All images are n×C×H×W in -1…1, at least two of a kind and at least 16 px, and all square.
"""

import torch
from torch import Tensor
from torch.nn import functional

from gan.losses import distance, return_trip

COARSE = 16  # pixels of the side at which images are compared with each other
SPOT = 16  # pixels of the side of the spots where patterns are looked for


def diversity(images: Tensor) -> Tensor:
    """Mean absolute difference between two different images at 16×16: 0 when all are one image."""
    coarse = _coarse(images)
    apart = (coarse[:, None] - coarse[None]).abs().mean(2)
    return apart.sum() / (len(images) * (len(images) - 1))


def likeness(images: Tensor) -> Tensor:
    """Mean correlation of two different images at 16×16: 1 when all show one layout, whatever their contrast.

    Near 0 for photos; whole heads on black are alike (0.5 and more), and so are translations that all became a head.
    An image without any contrast counts as uncorrelated.
    """
    unit = functional.normalize(_centred(_coarse(images)), dim=1, eps=1e-6)
    return ((unit @ unit.T).sum() - unit.square().sum()) / (len(images) * (len(images) - 1))


def correlation(images: Tensor, others: Tensor) -> Tensor:
    """Mean correlation, pixel by pixel, of each image with its counterpart: below 0 where intensity is inverted."""
    first, second = (functional.normalize(_centred(part.flatten(1)), dim=1, eps=1e-6) for part in (images, others))
    return (first * second).sum(1).mean()


def histogram_distance(images: Tensor, others: Tensor) -> Tensor:
    """Mean distance in level between two pools of pixels, both sorted (first Wasserstein distance): 0…2.

    Both are read at 4,096 evenly spaced quantiles, so that they may differ in number.
    """
    at = torch.linspace(0, 1, 4096, device=images.device)
    first, second = (part.flatten().sort().values for part in (images.float(), others.float()))
    return distance(*(part[(at * (len(part) - 1)).long()] for part in (first, second)))


def saturated(images: Tensor) -> Tensor:
    """Share of the pixels at an end of the range."""
    return (images.abs() > 1 - 1 / 255).float().mean()


def checkerboard(images: Tensor, others: Tensor) -> Tensor:
    """How much more than `others` typical spots show of patterns that repeat every 2 or 4 px: 1 or less without them.

    Upsampling by 2 leaves such patterns (Odena et al., Deconvolution and checkerboard artifacts, Distill 2016). The
    power at each frequency of such a pattern is taken over that around it, so that sharpness and noise do not count;
    by geometric means over spots of 16×16 px, since edges hide in few spots what flat ones show. The largest of the
    frequencies' ratios of images to others is given.
    """
    return (_peaks(images) - _peaks(others).clamp(min=0)).max().exp()


def degraded(images: Tensor, noise_sd: float) -> Tensor:
    """Images without what the eye does not see: noise of `noise_sd` 8-bit levels, clipped, then rounded to 8 bits.

    The noise is always the same, so that two figures differ by the networks alone.
    """
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).to(images.device)
    return return_trip(images + noise * (noise_sd * 2 / 255), 0.0, round_fakes=True)


def _coarse(images: Tensor) -> Tensor:
    return functional.interpolate(images.float(), size=(COARSE, COARSE), mode="area").flatten(1)


def _centred(rows: Tensor) -> Tensor:
    return rows.float() - rows.float().mean(1, keepdim=True)


def _peaks(images: Tensor) -> Tensor:
    """Log power at the 15 frequencies with periods of 2 or 4 px (along an axis or both) over that around them."""
    window = torch.hann_window(SPOT, device=images.device)
    window = window[:, None] * window
    spots = images.float().unfold(2, SPOT, SPOT).unfold(3, SPOT, SPOT).reshape(-1, SPOT, SPOT)
    spots = spots - spots.mean((1, 2), keepdim=True)
    rounding = (2 / 255) ** 2 / 12 * window.square().sum()  # power of what 8 bits do not keep
    spectrum = (torch.fft.fft2(spots * window).abs().square() + rounding).log().mean(0)
    down, along = (torch.stack([torch.roll(spectrum, by, axis) for by in (-2, 2)]).mean(0) for axis in (0, 1))
    around = (down + along) / 2
    around[0], around[:, 0] = along[0], down[:, 0]  # upright edges have all their power on an axis: compare along it
    return (spectrum - around)[:: SPOT // 4, :: SPOT // 4].flatten()[1:]  # all but the mean's
