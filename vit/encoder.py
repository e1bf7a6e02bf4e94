"""A transformer encoder over the positions of a grid (Dosovitskiy et al., ViT, arXiv 2010.11929), of timm's blocks."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vit.parameters import Vit


class Encoder(nn.Module):
    """Tokens (N×T×dim) to one vector per image (N×dim): class token or mean, after `depth` pre-norm blocks."""

    def __init__(self, tokens: int, vit: Vit) -> None:
        super().__init__()
        self.pool = vit.pool
        extra = 1 if vit.pool == "token" else 0
        self.position = nn.Parameter(torch.zeros(1, tokens + extra, vit.dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.token = nn.Parameter(torch.zeros(1, 1, vit.dim)) if extra else None
        self.dropout = nn.Dropout(vit.dropout)
        rates = [vit.drop_path * i / max(1, vit.depth - 1) for i in range(vit.depth)]
        self.blocks = nn.Sequential(
            *(
                Block(vit.dim, vit.heads, vit.mlp_ratio, qkv_bias=True, proj_drop=vit.dropout, drop_path=rate)
                for rate in rates
            )
        )
        self.norm = nn.LayerNorm(vit.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """N×T×dim → N×dim."""
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.norm(self.blocks(self.dropout(tokens + self.position)))
        return tokens[:, 0] if self.pool == "token" else tokens.mean(1)
