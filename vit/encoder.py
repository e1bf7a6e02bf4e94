"""Transformer encoder over tokens (Dosovitskiy et al., arXiv 2010.11929, eqs. 1–4), of timm's blocks."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vit.parameters import Vit


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
        rates = [vit.drop_path * i / max(1, vit.depth - 1) for i in range(vit.depth)]
        self.blocks = nn.ModuleList(
            Block(vit.dim, vit.heads, vit.mlp_ratio, qkv_bias=True, proj_drop=vit.dropout, drop_path=rate)
            for rate in rates
        )
        self.norm = nn.LayerNorm(vit.dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
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
