"""What images a CNN's weights were made with. Every CNN here takes -1…1: one whose weights want others scales them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from settings.errors import BadParameter


class Scale(NamedTuple):
    """Mean and deviation of the three channels, of values in 0…1, that are taken off images and divided by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


SIGNED = Scale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # what brings images to -1…1


def take_signed(model: nn.Module, scale: Scale | None) -> nn.Module:
    """Let a timm CNN take -1…1 although its weights want `scale` (None: that of timm's entry for it).

    Its first convolution scales what it is given: so it holds in every cut and copy of the network, and what is padded
    is 0 to the weights. The network's `pretrained_cfg` says its scale from here on. Raises BadParameter where no
    convolution of three channels comes first.
    """
    entry: Any = model.pretrained_cfg
    wanted = scale or Scale(tuple(entry["mean"]), tuple(entry["std"]))
    model.pretrained_cfg = {**entry, **wanted._asdict()}  # type: ignore[assignment]
    if wanted == SIGNED:
        return model
    factor = [0.5 / std for std in wanted.std]
    offset = [(0.5 - mean) / std for mean, std in zip(*wanted, strict=True)]

    def rescale(module: nn.Module, given: tuple[Tensor, ...]) -> Tensor:
        (x,) = given
        return x * x.new_tensor(factor).view(1, 3, 1, 1) + x.new_tensor(offset).view(1, 3, 1, 1)

    first, modules = entry.get("first_conv"), dict(model.named_modules())
    convolutions = [modules.get(name) for name in ([first] if isinstance(first, str) else first or [])]
    for convolution in convolutions or [None]:
        if convolution is None or getattr(convolution, "in_channels", 0) != 3:
            raise BadParameter(
                f"start: weights of {entry['architecture']} want images of mean {wanted.mean} and std {wanted.std}, "
                "and no convolution that could scale them comes first; choose another architecture, or start: random"
            )
        convolution.register_forward_pre_hook(rescale)
    return model


def scale_of(model: nn.Module) -> dict[str, tuple[float, ...]]:
    """`mean` and `std` of a CNN that `take_signed` has seen, for its card."""
    entry: Any = model.pretrained_cfg
    return {name: entry[name] for name in Scale._fields}


def scale_on(card: Mapping[str, Any]) -> Scale:
    """The scale that a card says; one without, or with one number for the channels, is of a CNN that wants -1…1."""
    return Scale(tuple(card["mean"]), tuple(card["std"])) if isinstance(card.get("mean"), list) else SIGNED
