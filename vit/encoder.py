"""Transformer encoder over tokens (Dosovitskiy et al., arXiv 2010.11929, eqs. 1–4), of timm's blocks."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vit.parameters import Attention, Vit


class AnyHead(nn.Module):
    """What every head says of itself."""

    channels: int  # that it reads side by side, after projections
    grid: tuple[int, int]  # … at so many positions
    width: int  # of what `classify` is given
    undecayed: tuple[str, ...]  # parameters of more than one axis that have no weight decay all the same
    classify: nn.Module


def blocks(p: Attention) -> nn.ModuleList:
    """Pre-norm blocks; the rate of stochastic depth rises from 0 at the first to `drop_path` at the last."""
    rates = [p.drop_path * i / max(1, p.depth - 1) for i in range(p.depth)]
    return nn.ModuleList(
        Block(p.dim, p.heads, p.mlp_ratio, qkv_bias=True, proj_drop=p.dropout, drop_path=rate) for rate in rates
    )


def first_weights(module: nn.Module) -> None:
    """timm's start of linear layers: a normal distribution of sd 0.02, cut at ±2, and no bias."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class Encoder(nn.Module):
    """Tokens (N×T×dim) → one vector each (N×dim): position embedding, blocks, LayerNorm, pooling.

    Position embeddings are learned. `pool: token` puts a learned class token in front and gives its output;
    `pool: mean` the mean over positions.
    """

    undecayed = ("position", "token")  # no weight decay, as in timm

    def __init__(self, tokens: int, vit: Vit) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, vit.dim)) if vit.pool == "token" else None
        self.position = nn.Parameter(torch.zeros(1, tokens + (self.token is not None), vit.dim))
        self.drop = nn.Dropout(vit.dropout)
        self.blocks = blocks(vit)
        self.norm = nn.LayerNorm(vit.dim, eps=1e-6)
        first_weights(self)
        nn.init.trunc_normal_(self.position, std=0.02)
        if self.token is not None:
            nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        x = self.drop(x + self.position)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return x[:, 0] if self.token is not None else x.mean(dim=1)
