"""The first part of a CNN kept as it is while the rest is trained."""

from torch import nn

from settings.errors import BadParameter


def freeze(model: nn.Module, until: str) -> list[nn.Module]:
    """Stop the gradients of everything up to and including the module `until`; returns those modules.

    They must be put back into evaluation mode after every `train()`, else BatchNorm's statistics move all the same.
    'Up to' is in the order in which timm defines modules, which for its CNNs is the order of the forward pass.
    BadParameter for a module that is not there, or when nothing but the classifying layer would be left.
    """
    leaves = {name: module for name, module in model.named_modules() if not any(True for _ in module.children())}
    inside = [place for place, name in enumerate(leaves) if f"{name}.".startswith(f"{until}.")]
    if not inside:
        raise BadParameter(f"frozen: the CNN has no module '{until}'; it has {', '.join(dict(model.named_children()))}")
    before = list(leaves.values())[: inside[-1] + 1]
    for module in before:
        module.requires_grad_(False)
    if sum(parameter.requires_grad for parameter in model.parameters()) <= 2:
        raise BadParameter(f"frozen: behind '{until}' there is nothing to train; name an earlier module, or trained_on")
    return before
