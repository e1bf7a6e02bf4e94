"""Learning rates as functions of images seen; they hold no state, so a resume cannot lose their place."""

import math


def warmup_cosine(images_seen: int, total: int, warmup: int) -> float:
    """Factor on the learning rate: linear from 0 over `warmup` images, then half a cosine to 0 at `total`.

    Loshchilov & Hutter, SGDR (arXiv 1608.03983), eq. 5 with one cycle.
    """
    if images_seen < warmup:
        return (images_seen + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (images_seen - warmup) / max(1, total - warmup))))


def constant_then_linear(images_seen: int, total: int, constant_share: float) -> float:
    """Factor on the learning rate: 1 for the first share of the images, then linear to 0.

    Zhu et al., CycleGAN (arXiv 1703.10593), section 4: 100 epochs constant, 100 linear (share 0.5).
    """
    start = constant_share * total
    return 1.0 if images_seen < start else max(0.0, 1 - (images_seen - start) / max(1.0, total - start))
