"""Parameters of the head: the shared transformer, the table of variants, its training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.loader import Parameters

Share = Annotated[float, Field(ge=0, lt=1)]


class Vit(Parameters):
    """The encoder, the same for every variant."""

    dim: int = Field(ge=1)  # latent width
    depth: int = Field(ge=1)  # transformer blocks
    heads: int = Field(ge=1)  # attention heads; must divide dim
    mlp_ratio: float = Field(gt=0)  # width of a block's MLP over dim
    dropout: Share  # on tokens and in the blocks' MLP
    drop_path: Share  # stochastic depth at the last block, rising linearly
    pool: Literal["token", "mean"]  # class token, or the mean of the tokens

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> "Vit":
        if self.dim % self.heads:
            divisors = [n for n in range(1, min(self.dim, 64) + 1) if self.dim % n == 0]
            raise ValueError(f"heads: {self.heads} does not divide dim {self.dim}; take one of {divisors}")
        return self


class Variant(Parameters):
    """One row of Table 1: what the head reads."""

    cnns: tuple[str, ...]  # entries of `cnns`, their maps concatenated; none: the slices themselves
    side: int | None = None  # pixels of the slices, without CNNs; one of prepare_ct.sides
    patch: int = Field(default=1, ge=1)  # side of a token, in positions of the map or pixels of the slice
    projection: int | None = Field(default=None, ge=1)  # channels after a 1×1 convolution on each CNN's map
    encoder: Literal["vit"] = "vit"
    paper: str | None = None  # the paper's row that it stands beside
    seed: int = Field(default=0, ge=0)  # added to the shared seed

    @model_validator(mode="after")
    def _one_source(self) -> "Variant":
        if bool(self.cnns) == (self.side is not None):
            raise ValueError("side: must be given without cnns, and only then (it is the side of the slices)")
        if self.projection and not self.cnns:
            raise ValueError("projection: is of CNN maps; leave it null without cnns")
        return self


class VitTrain(Parameters):
    """vit-train@<variant>."""

    images: int = Field(gt=0)  # slices to see
    batch: int = Field(gt=0)  # slices in a step, over all ranks
    learning_rate: float = Field(gt=0)  # of AdamW at its peak
    warmup_share: Share  # of the images, until the peak
    weight_decay: float = Field(ge=0)  # not on biases, norms and embeddings
    evaluate_every: int = Field(gt=0)  # images between validations; the best weights are kept
