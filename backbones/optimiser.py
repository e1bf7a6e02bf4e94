"""The optimiser of a CNN or a head, from timm's factory and parameter groups."""

from timm.optim._optim_factory import create_optimizer_v2
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import Optimizer

from backbones.parameters import Optimise, Training


def make_optimiser(model: nn.Module, training: Training, optimise: Optimise, undecayed: tuple[str, ...]) -> Optimizer:
    """AdamW or SGD over the parameters that have a gradient.

    Vectors (biases, norms) and `undecayed` have no weight decay. With `layer_decay` < 1 each group has an `lr_scale`:
    1 for the last of timm's layers, a factor `layer_decay` less for each before it.
    """
    if optimise.layer_decay < 1:
        groups = param_groups_layer_decay(
            model, training.weight_decay, no_weight_decay_list=undecayed, layer_decay=optimise.layer_decay
        )
    else:
        groups = param_groups_weight_decay(model, training.weight_decay, no_weight_decay_list=undecayed)
    return create_optimizer_v2(groups, opt=optimise.optimiser, lr=training.learning_rate, momentum=0.9, fused=True)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """The learning rate of the step ahead; each group's own scale comes on top."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
