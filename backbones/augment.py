"""What happens to a batch on the device: uint8 → float, size, and random views drawn for each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def to_input(images: Tensor, side: int) -> Tensor:
    """N×H×W×3 uint8 → N×3×side×side float32 in -1…1 (mean = std = 0.5, timm's for Xception); resized antialiased."""
    return resize(images.permute(0, 3, 1, 2).float().div(127.5).sub(1), side)


def random_views(
    images: Tensor,
    side: int,
    area: tuple[float, float] = (1.0, 1.0),
    rotate: float = 0.0,
    shift: float = 0.0,
    flip: bool = False,
    of: Tensor | None = None,
) -> Tensor:
    """`to_input` with one random view of each image: a share of its area, turned, shifted, flipped left-right.

    `area`: smallest and largest share (square crops, anywhere inside); `rotate`: degrees to either side; `shift`: share
    of the side in any direction. Edge pixels are repeated outside. Draws come from torch's global generator. `of`: the
    number of each image's view (n, int64, from 0); images of one number are seen alike; None: each has its own.
    """
    # One size lies between whole images, which would alias, and the smallest crops, which would blur.
    between = math.ceil(side / (area[0] * area[1]) ** 0.25)
    x = to_input(images, min(images.shape[1], between))
    n, device = len(x) if of is None else int(of.max()) + 1, x.device
    scale = torch.empty(n, device=device).uniform_(*area).sqrt()
    angle = torch.empty(n, device=device).uniform_(-rotate, rotate) * (math.pi / 180)
    mirror = torch.randint(0, 2, (n,), device=device) * 2.0 - 1 if flip else torch.ones(n, device=device)
    room = (1 - scale)[:, None] + 2 * shift  # in the grid's units: the image spans -1…1
    centre = torch.empty(n, 2, device=device).uniform_(-1, 1) * room
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([cos * mirror, -sin, centre[:, 0], sin * mirror, cos, centre[:, 1]], dim=1)
    rows = rows if of is None else rows[of.to(device)]
    grid = functional.affine_grid(rows.view(-1, 2, 3), [len(x), 3, side, side], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def resize(x: Tensor, side: int) -> Tensor:
    """N×C×H×W to N×C×side×side, bilinear and antialiased; differentiable."""
    if x.shape[-1] == side:
        return x
    return functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
