"""The first part of a CNN kept as it is while the rest is trained."""

from torch import nn

from settings.errors import BadParameter


def freeze(model: nn.Module, until: str) -> list[nn.Module]:
    """Stop the gradients of everything up to and including the module `until`; returns those modules.

    They must be put back into evaluation mode after every `train()`, else BatchNorm's statistics move all the same.
    'Up to' is in the order in which timm defines modules, which for its CNNs is the order of the forward pass. A module
    that has children is among them where all of it lies in front: a BatchNorm with its activation inside, a block with
    a scale of its own. What `until` is a part of stays as it is.
    BadParameter for a module that is not there, or when nothing but the classifying layer would be left.
    """
    names = [name for name, _ in model.named_modules()]
    inside = [place for place, name in enumerate(names) if f"{name}.".startswith(f"{until}.")]
    if not inside:
        raise BadParameter(f"frozen: the CNN has no module '{until}'; it has {', '.join(dict(model.named_children()))}")
    around = {"", *(until[:place] for place, letter in enumerate(until) if letter == ".")}
    before = [model.get_submodule(name) for name in names[: inside[-1] + 1] if name not in around]
    for module in before:
        module.requires_grad_(False)
    if sum(parameter.requires_grad for parameter in model.parameters()) <= 2:
        raise BadParameter(f"frozen: behind '{until}' there is nothing to train; name an earlier module, or trained_on")
    return before
