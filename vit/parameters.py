"""Parameters of the heads: the encoder, the table of variants, their training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from backbones.parameters import Training
from settings.loader import Parameters

Positions = Annotated[int, Field(ge=1)]


class Attention(Parameters):
    """Transformer blocks."""

    dim: int = Field(gt=0)  # latent width; the paper's 1456
    depth: int = Field(ge=1)  # blocks; the paper's 12
    heads: int = Field(ge=1)  # attention heads; must divide dim
    mlp_ratio: float = Field(gt=0)  # hidden width of a block's MLP over dim
    dropout: float = Field(ge=0, lt=1)  # of embeddings, of what a block adds, of the classifier's hidden layer
    drop_path: float = Field(ge=0, lt=1)  # stochastic depth: rate of the last block, linear from 0 at the first

    @model_validator(mode="after")
    def _heads_divide(self) -> "Attention":
        if self.dim % self.heads:
            divisors = ", ".join(str(n) for n in range(1, self.dim + 1) if self.dim % n == 0)
            raise ValueError(f"heads: {self.heads} does not divide dim {self.dim}; choose one of {divisors}")
        return self


class Vit(Attention):
    """The transformer encoder of a slice, shared by all variants."""

    pool: Literal["token", "mean"]  # what is classified: a class token, or the mean of the positions


class Context(Attention):
    """The encoder of a series: its tokens are slices."""

    reach: int = Field(ge=1)  # steps of 5 mm up and down that attention tells apart; all beyond are as one
    length: int = Field(ge=2)  # slices of a series that are trained on at once; longer series are cut


class VitTrain(Training):
    """vit-train@<variant>, on the head half of the train patients.

    Random views are of slices: a pure ViT's, all others' too without extract_features.cache. Cached maps stay.
    """

    flip: bool  # left-right, every second time
    rotate: float = Field(ge=0, le=180)  # degrees, to either side
    shift: float = Field(ge=0, lt=0.5)  # share of the side, in any direction


class Shape(Parameters):
    """What a head is built of, beside `vit` and what it reads."""

    encoder: Literal["vit", "linear", "mean-logits"]  # blocks over the maps; their mean, classified; no head at all
    patch: int = Field(ge=1)  # positions (pixels of an image) along each axis that make one token
    projection: int | None = Field(ge=1)  # width of a 1×1 convolution on each CNN's maps; null: none
    grid: tuple[Positions, Positions] | None = None  # maps are resampled to these rows and columns; null: must be alike
    context: Context | None = None  # a second encoder, over the slices of a series; null: slices stand alone

    @model_validator(mode="after")
    def _only_vit_has_tokens(self) -> "Shape":
        if self.encoder != "vit" and (self.patch, self.projection, self.grid) != (1, None, None):
            raise ValueError(f"encoder: {self.encoder} has no tokens: set patch to 1, projection and grid to null")
        if self.encoder == "mean-logits" and self.context:
            raise ValueError("context: a mean of logits trains nothing; set it to null, or encoder to linear or vit")
        if self.grid and (self.grid[0] % self.patch or self.grid[1] % self.patch):
            raise ValueError(f"patch: {self.patch} does not divide grid {self.grid}; choose one that does")
        return self


class Variant(Shape):
    """One head of the table `variants`."""

    cnns: tuple[str, ...]  # whose maps it reads, in this order, repeats allowed; none: a pure ViT on images
    side: int | None = Field(ge=32)  # pixels of a pure ViT's images, one of prepare_ct.sides; null with CNNs
    fraction: float = Field(default=1, gt=0, le=1)  # share of the head half's patients that it is fitted on
    seed: int = Field(ge=0)  # added to the shared seed
    paper: str | None = None  # the row of the paper's table that it stands beside

    @property
    def shape(self) -> Shape:
        """Its part that the trained head is rebuilt from."""
        return Shape(**self.model_dump(include=set(Shape.model_fields)))

    @model_validator(mode="after")
    def _reads_one_kind(self) -> "Variant":
        if self.cnns and self.side is not None:
            raise ValueError("side: is that of a pure ViT's images; with CNNs it is theirs: set it to null")
        if not self.cnns and self.side is None:
            raise ValueError("side: a variant without CNNs reads images and needs their side; name one")
        if not self.cnns and self.projection is not None:
            raise ValueError("projection: is of CNN maps; a variant without CNNs has none: set it to null")
        if not self.cnns and self.grid is not None:
            raise ValueError("grid: is of CNN maps; a variant without CNNs has none: set it to null")
        if not self.cnns and self.encoder != "vit":
            raise ValueError(f"encoder: {self.encoder} reads CNNs; name them in cnns, or set it to vit")
        if self.encoder == "mean-logits" and self.fraction != 1:
            raise ValueError("fraction: a mean of logits is fitted on nothing; leave it out")
        if self.side is not None and self.side % self.patch:
            raise ValueError(f"patch: {self.patch} does not divide side {self.side}; choose one that does")
        return self
