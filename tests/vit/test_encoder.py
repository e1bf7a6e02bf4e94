from functools import partial
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vit.encoder import Encoder
from vit.parameters import Vit

VIT = Vit(dim=12, depth=2, heads=3, mlp_ratio=2, dropout=0.0, drop_path=0.0, pool="token")


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_equals_timms_vision_transformer(pool: str) -> None:
    """The same weights in timm's own ViT, behind its patch embedding, give the same vector."""
    torch.manual_seed(0)
    encoder = Encoder(4, VIT.model_copy(update={"pool": pool})).eval()
    theirs: Any = VisionTransformer(
        img_size=2, patch_size=1, in_chans=12, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2, num_classes=0,
        global_pool="token" if pool == "token" else "avg", class_token=pool == "token",
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), final_norm=True, fc_norm=False,
    ).eval()  # fmt: skip
    renamed = {"position": "pos_embed", "token": "cls_token"}
    own = {renamed.get(name, name): value for name, value in encoder.state_dict().items()}
    eye = torch.eye(12)[:, :, None, None]
    theirs.load_state_dict({**own, "patch_embed.proj.weight": eye, "patch_embed.proj.bias": torch.zeros(12)})
    for block, its in zip(encoder.blocks, theirs.blocks, strict=True):
        assert getattr(block.norm1, "eps", None) == getattr(its.norm1, "eps", 0)
    x = torch.randn(3, 12, 2, 2)
    with torch.no_grad():
        # timm's mean pooling comes before its norm or after it, by version: average its normed tokens here
        expected = theirs(x) if pool == "token" else theirs.forward_features(x).mean(1)
        torch.testing.assert_close(encoder(x.flatten(2).transpose(1, 2)), expected)


def test_the_papers_encoder_has_the_size_that_was_counted() -> None:
    """By hand: a block has 12·d² + 13·d parameters (qkv, projection, MLP of ratio 4, two norms)."""
    vit = Vit(dim=1456, depth=12, heads=13, mlp_ratio=4, dropout=0, drop_path=0, pool="token")
    with torch.device("meta"):
        encoder = Encoder(49, vit)
    d = 1456
    assert sum(p.numel() for p in encoder.parameters()) == 12 * (12 * d * d + 13 * d) + 50 * d + d + 2 * d
