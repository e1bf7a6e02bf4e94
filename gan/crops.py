"""What the translator is shown: views of slices and photos, cut out in batches on the device.

A discriminator that sees whole heads demands a head of every photo; one that sees crops from inside the head demands
only CT's look. So the CT side shows crops that are mostly tissue (`ct_view: crops`).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from corpus.windows import LUMINANCE, Windows, apply_window, dequantise

AIR = -0.8  # a one-channel slice below this (the lowest tenth of its HU range: under -112 HU for -150…230) is air
CANDIDATES = 64  # crops drawn for each image, of which the first with enough tissue is taken
COARSE = 48  # tissue is judged on the slice at this side …
PROBES = 8  # … at 8×8 points of a crop


class Views(NamedTuple):
    """Where to cut, one entry an image: zoom (the view is 1/zoom of the side), angle in radians, centre (x, y) in
    -1…1 of the image, mirror (±1)."""

    zoom: Tensor
    angle: Tensor
    centre: Tensor
    mirror: Tensor


def to_signed(images: Tensor) -> Tensor:
    """uint8 n×H×W×C → float n×C×H×W in -1…1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def luminance(photos: Tensor) -> Tensor:
    """uint8 RGB n×H×W×3 → luma n×1×H×W in -1…1 (Rec. 601, gamma-coded values as they are)."""
    weights = torch.tensor(LUMINANCE, device=photos.device)
    return (photos.float() @ weights)[:, None] / 127.5 - 1


def photo_input(photos: Tensor, channels: int) -> Tensor:
    """uint8 RGB n×H×W×3 → what a translator of 1 (luma) or 3 channels (RGB) reads, n×channels×H×W in -1…1."""
    return luminance(photos) if channels == 1 else to_signed(photos)


def windowed(images: Tensor, windows: Windows, hu: tuple[float, float]) -> Tensor:
    """n×1×H×W in -1…1, linear over the HU range `hu` → its three windows, n×3×H×W in -1…1; differentiable."""
    values = dequantise((images + 1) * 127.5, *hu)
    return torch.cat([apply_window(values, window) for window in windows], dim=1) * 2 - 1


def hu_channel(channels: int, windows: Windows, hu: tuple[float, float]) -> tuple[int, tuple[float, float]]:
    """Which channel of CT images is linear in HU over the widest range, and that range.

    Of one channel this is it; of three windows the widest.
    """
    if channels == 1:
        return 0, hu
    widest = max(range(3), key=lambda i: windows[i].width)
    return widest, (windows[widest].low, windows[widest].high)


def random_views(count: int, zoom: tuple[float, float], rotate: float, flip: bool, device: torch.device) -> Views:
    """`count` views drawn from torch's global generator: zoom and angle (degrees to either side) evenly, the centre
    anywhere that keeps the unrotated view inside the image."""
    drawn = torch.rand(5, count, device=device)
    zooms = zoom[0] + (zoom[1] - zoom[0]) * drawn[0]
    angle = (2 * drawn[1] - 1) * math.radians(rotate)
    centre = (2 * drawn[2:4].T - 1) * (1 - 1 / zooms)[:, None]
    mirror = torch.where((drawn[4] < 0.5) & flip, -1.0, 1.0)
    return Views(zooms, angle, centre, mirror)


def cut(images: Tensor, views: Views, side: int, oversample: int) -> Tensor:
    """The views of images (n×C×H×W, -1…1) as n×C×side×side.

    Each pixel is the mean of `oversample`² bilinear samples, so that shrinking does not alias; beyond the border the
    border goes on.
    """
    fine = side * oversample
    grid = functional.affine_grid(_matrices(views), [len(images), 1, fine, fine], align_corners=False)
    samples = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return functional.avg_pool2d(samples, oversample) if oversample > 1 else samples


def dithered(images: Tensor) -> Tensor:
    """Images with uniform noise as wide as one 8-bit level, from torch's global generator (Theis et al., 1511.01844).

    Of a blank image (a white page, a slice of air) instance norm divides by almost nothing, layer after layer: without
    the noise one such image has gradients of 1e29 and ends the training.
    """
    return images + (torch.rand_like(images) - 0.5) * (2 / 255)


def tissue_share(images: Tensor, views: Views) -> Tensor:
    """Share of each view that is not air, for m views of each of n slices in turn (n·m): n×m in 0…1.

    Estimated at 8×8 points of a coarse tissue map; what lies outside the slice is air.
    """
    coarse = functional.interpolate(images, size=(COARSE, COARSE), mode="area")
    tissue = (coarse > AIR).float()
    each = len(views.zoom) // len(images)
    grid = functional.affine_grid(_matrices(views), [len(views.zoom), 1, PROBES, PROBES], align_corners=False)
    grid = grid.reshape(len(images), each * PROBES, PROBES, 2)
    found = functional.grid_sample(tissue, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return found.reshape(len(images), each, PROBES * PROBES).mean(2)


def tissue_views(
    images: Tensor, tissue: float, zoom: tuple[float, float], rotate: float, flip: bool
) -> tuple[Views, Tensor]:
    """One view of each slice with a tissue share of at least `tissue`, and that share.

    The first of 64 random views that has it; where none has (a slice of almost nothing), the one with most.
    """
    count = len(images)
    drawn = random_views(count * CANDIDATES, zoom, rotate, flip, images.device)
    share = tissue_share(images, drawn)
    chosen = torch.where(share >= tissue, 2.0, share).argmax(1)  # argmax: the first of equals
    rows = torch.arange(count, device=images.device) * CANDIDATES + chosen
    views = Views(*(part[rows] for part in drawn))
    return views, share.gather(1, chosen[:, None])[:, 0]


def oversampling(side: int, wanted: int, zoom: float) -> int:
    """Samples a pixel along each axis when 1/zoom of `side` pixels becomes `wanted`; at most 4."""
    return max(1, min(4, math.ceil(side / zoom / wanted - 1e-6)))


def _matrices(views: Views) -> Tensor:
    """n×2×3 maps from the view's coordinates (-1…1) to the image's: mirror, rotate, shrink, shift."""
    cosine, sine = torch.cos(views.angle) / views.zoom, torch.sin(views.angle) / views.zoom
    rows = [cosine * views.mirror, -sine, views.centre[:, 0], sine * views.mirror, cosine, views.centre[:, 1]]
    return torch.stack(rows, 1).reshape(-1, 2, 3)
