"""Cheap figures that tell whether the translator is doing its work; the loop itself stops at a non-finite loss."""

from torch import Tensor
from torch.nn import functional

from gan.losses import distance


def diversity(images: Tensor) -> Tensor:
    """Mean absolute difference between two different images of n×1×H×W at 16×16: 0 when all are one image."""
    coarse = functional.interpolate(images, size=(16, 16), mode="area").flatten(1)
    apart = (coarse[:, None] - coarse[None]).abs().mean(2)
    return apart.sum() / (len(images) * (len(images) - 1))


def figures(
    photos: Tensor, translated: Tensor, cycled: Tensor, cts: Tensor, hu: tuple[float, float], channel: int = 0
) -> dict[str, float]:
    """Validation figures of fixed train photos (all n×C×H×W in -1…1; `hu`: range of the HU channel, `channel`).

    `cycle`: mean |cycled - photo|; `diversity`: of the translations, in units of the CT views' own (0: mode collapse);
    `change`: mean |translated - photo| (0: identity mapping); `saturated`: share of pixels at an end of the range;
    `hu_mean`: of the translations, in HU.
    """
    low, high = hu
    in_hu = translated[:, channel]
    return {
        "cycle": float(distance(cycled, photos)),
        "diversity": float(diversity(translated) / diversity(cts).clamp(min=1e-6)),
        "change": float(distance(translated, photos)),
        "saturated": float((in_hu.abs() > 1 - 1 / 255).float().mean()),
        "hu_mean": float((in_hu.mean() + 1) / 2 * (high - low) + low),
    }
