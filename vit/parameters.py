"""Parameters of the heads: the encoder, the table of variants, their training."""

from typing import Literal

from pydantic import Field, model_validator

from backbones.parameters import Training
from settings.loader import Parameters


class Vit(Parameters):
    """The transformer encoder, shared by all variants."""

    dim: int = Field(gt=0)  # latent width; the paper's 1456
    depth: int = Field(ge=1)  # blocks; the paper's 12
    heads: int = Field(ge=1)  # attention heads; must divide dim
    mlp_ratio: float = Field(gt=0)  # hidden width of a block's MLP over dim
    dropout: float = Field(ge=0, lt=1)  # of embeddings, of what a block adds, of the classifier's hidden layer
    drop_path: float = Field(ge=0, lt=1)  # stochastic depth: rate of the last block, linear from 0 at the first
    pool: Literal["token", "mean"]  # what is classified: a class token, or the mean of the positions

    @model_validator(mode="after")
    def _heads_divide(self) -> "Vit":
        if self.dim % self.heads:
            divisors = ", ".join(str(n) for n in range(1, self.dim + 1) if self.dim % n == 0)
            raise ValueError(f"heads: {self.heads} does not divide dim {self.dim}; choose one of {divisors}")
        return self


class VitTrain(Training):
    """vit-train@<variant>, on the head half of the train patients. Maps are cached: random views are of images only."""

    flip: bool  # images of a pure ViT: left-right, every second time
    rotate: float = Field(ge=0, le=180)  # … degrees, to either side
    shift: float = Field(ge=0, lt=0.5)  # … share of the side, in any direction


class Variant(Parameters):
    """One head of the table `variants`."""

    cnns: tuple[str, ...]  # whose maps it reads, in this order, repeats allowed; none: a pure ViT on images
    patch: int = Field(ge=1)  # positions (pixels of an image) along each axis that make one token
    side: int | None = Field(ge=32)  # pixels of a pure ViT's images, one of prepare_ct.sides; null with CNNs
    projection: int | None = Field(ge=1)  # width of a 1×1 convolution on each CNN's maps; null: none
    encoder: Literal["vit"]
    seed: int = Field(ge=0)  # added to the shared seed
    paper: str | None = None  # the row of the paper's table that it stands beside

    @model_validator(mode="after")
    def _reads_one_kind(self) -> "Variant":
        if self.cnns and self.side is not None:
            raise ValueError("side: is that of a pure ViT's images; with CNNs it is theirs: set it to null")
        if not self.cnns and self.side is None:
            raise ValueError("side: a variant without CNNs reads images and needs their side; name one")
        if not self.cnns and self.projection is not None:
            raise ValueError("projection: is of CNN maps; a variant without CNNs has none: set it to null")
        if self.side is not None and self.side % self.patch:
            raise ValueError(f"patch: {self.patch} does not divide side {self.side}; choose one that does")
        return self
