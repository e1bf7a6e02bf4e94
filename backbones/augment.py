"""What happens to a batch on the device: uint8 → float, size, and random views drawn for each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def to_input(images: Tensor, side: int) -> Tensor:
    """N×H×W×3 uint8 → N×3×side×side float32 in -1…1 (mean = std = 0.5, timm's for Xception); resized antialiased."""
    x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    if x.shape[-1] == side:
        return x
    return functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)


def random_views(
    images: Tensor,
    side: int,
    area: tuple[float, float] = (1.0, 1.0),
    rotate: float = 0.0,
    shift: float = 0.0,
) -> Tensor:
    """`to_input`, then one random view of each image: flipped left-right, a share of its area, turned, shifted.

    `area`: smallest and largest share (square crops, placed anywhere inside); `rotate`: degrees to either side; `shift`:
    share of the side to either side. Edge pixels are repeated outside. Draws come from torch's global generator.
    """
    x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    n, device = len(x), x.device
    scale = torch.empty(n, device=device).uniform_(*area).sqrt()
    angle = torch.empty(n, device=device).uniform_(-rotate, rotate) * (math.pi / 180)
    flip = torch.randint(0, 2, (n,), device=device) * 2.0 - 1
    room = (1 - scale)[:, None] + 2 * shift  # in the grid's units: the image spans -1…1
    centre = torch.empty(n, 2, device=device).uniform_(-1, 1) * room
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos * flip, -sin, centre[:, 0], sin * flip, cos, centre[:, 1]], dim=1)
    # A view much smaller than the image would alias: shrink the image first.
    target = min(x.shape[-1], math.ceil(side / math.sqrt(area[1])))
    if target < x.shape[-1]:
        x = functional.interpolate(x, (target, target), mode="bilinear", antialias=True, align_corners=False)
    grid = functional.affine_grid(rows.view(n, 2, 3), [n, 3, side, side], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
