"""Parameters of the CNNs: their table, corpus pretraining, fine-tuning on CT, feature extraction."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.errors import BadParameter
from settings.loader import Parameters, nearest

Share = Annotated[float, Field(ge=0, lt=1)]


class Weights(Parameters):
    """A safetensors file below `raw.weights`; another content than `sha256` is refused."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    batchnorm_eps: float = Field(gt=0)  # 1e-5 for weights made by PyTorch, 1e-3 for those made by Keras
    licence: str = ""  # shown by `doctor`


STARTS = ("imagenet", "random", "timm", "gan-pretrain")  # what `cnns.*.start` may be besides a corpus or a weights file


def pretrained(start: str | Weights, imagenet: bool) -> str | None:
    """The artifact that a start is; None for random weights, timm's and a file (`imagenet`: whether that names one)."""
    if isinstance(start, Weights) or start in ("random", "timm") or (start == "imagenet" and imagenet):
        return None
    corpus = {"imagenet": "photos", "gan-pretrain": "translated"}.get(start, start)
    return f"artifacts/pretrained/{corpus}"


class Cnn(Parameters):
    """One CNN of the table `cnns`."""

    architecture: str  # a timm name
    stage: str  # the module whose output is the feature map; block12 of legacy_xception is the paper's
    side: int = Field(ge=32)  # pixels; one of prepare_ct.sides
    # timm: its pretrained weights, from its hub; these and a file's see images normalised as timm's entry for them says
    start: str | Weights  # "imagenet", "random", "timm", "gan-pretrain", or a corpus of the table `corpora`
    # ct: fitted to its labels; batchnorm: its BatchNorm statistics are those of the CNN half's slices, no label is read
    trained_on: Literal["nothing", "ct", "batchnorm"]
    fraction: float = Field(default=1, gt=0, le=1)  # share of the CNN half's patients that it is fitted on
    frozen: str | None = None  # the module up to which weights and BatchNorm statistics stay those of the start
    seed: int = Field(ge=0)  # added to the shared seed

    @model_validator(mode="after")
    def _fitted(self) -> "Cnn":
        for name, value, none in (("fraction", self.fraction, 1), ("frozen", self.frozen, None)):
            if self.trained_on != "ct" and value != none:
                raise ValueError(f"{name}: is of a CNN that is fitted on CT; set trained_on to ct, or leave it out")
        return self


def check_start(name: str, cnn: Cnn, corpora: Sequence[str], imagenet: bool, of_corpora: str) -> None:
    """BadParameter where `cnns.<name>` starts from what there is not, or from a CNN of another architecture.

    `imagenet`: whether that names a file. `of_corpora`: corpus_pretrain.architecture.
    """
    starts = [*STARTS, *corpora]
    if isinstance(cnn.start, str) and cnn.start not in starts:
        raise BadParameter(f"cnns.{name}.start: '{cnn.start}' is no start and no corpus{nearest(cnn.start, starts)}")
    if pretrained(cnn.start, imagenet) and cnn.architecture != of_corpora:
        raise BadParameter(
            f"cnns.{name}.architecture: {cnn.architecture} cannot start from {cnn.start}, which is {of_corpora}; "
            "make corpus_pretrain.architecture and the CNN's the same"
        )


class Training(Parameters):
    """What every training of a CNN or a head has: a linear warm-up, half a cosine, averaged weights."""

    images: int = Field(gt=0)  # images to see
    batch: int = Field(gt=0)  # images in a step, over all ranks
    learning_rate: float = Field(gt=0)  # at its peak
    warmup_share: Share  # of the images, until the peak
    weight_decay: float = Field(ge=0)  # not on biases, norms and position embeddings
    ema_half_life: float = Field(gt=0)  # images after which a weight counts half in the averaged weights
    evaluate_every: int = Field(gt=0)  # images between validations


class Optimise(Parameters):
    """How a step moves the weights."""

    optimiser: Literal["adamw", "sgd"]  # sgd: Nesterov momentum 0.9; wants a learning rate some 30 times as high
    # Factor on the learning rate from a layer to the one before; 1: none. With few patients less than 1 keeps the early
    # layers, which are general, nearer to the start.
    layer_decay: float = Field(gt=0, le=1)
    accumulate: int = Field(ge=1)  # parts of a batch that run one after another, where memory is short; must divide it
    clip_norm: float | None = Field(gt=0)  # the gradient's norm is cut to this; null: never


PLAIN = Optimise(optimiser="adamw", layer_decay=1, accumulate=1, clip_norm=None)


class CnnTraining(Training):
    """What the trainings of CNNs have beside."""

    optimise: Optimise
    patience: int | None = Field(ge=1)  # validations without a lower loss after which it ends; null: sees all images

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "CnnTraining":
        if self.batch % self.optimise.accumulate:
            raise ValueError(
                f"accumulate: {self.optimise.accumulate} does not divide batch {self.batch}; choose a divisor"
            )
        return self


class CorpusPretrain(CnnTraining):
    """corpus-pretrain@<corpus> and gan-pretrain: one budget and the same start weights, so that corpora compare."""

    architecture: str  # a timm name; CNNs that start from the result must have the same
    side: int = Field(ge=32)  # pixels that the CNN sees; the corpus is resized on the device
    label_smoothing: Share
    crop_scale: tuple[float, float]  # random resized crop: smallest and largest share of the image's area
    flip: bool  # left-right, every second time

    @model_validator(mode="after")
    def _crop_is_part(self) -> "CorpusPretrain":
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale: must be [low, high] with 0 < low ≤ high ≤ 1, got {list(self.crop_scale)}")
        return self


class CnnFinetune(CnnTraining):
    """cnn-finetune@<cnn>: all weights, or those behind `cnns.*.frozen`, on the CNN half of the train patients."""

    # Share of a batch that has a bleed, whatever theirs is among the slices (RSNA's: 0.14); null: as they come. It
    # learns of the rare labels sooner, and gives probabilities for that share.
    positive_share: float | None = Field(gt=0, lt=1)

    flip: bool  # left-right, every second time
    rotate: float = Field(ge=0, le=180)  # degrees, to either side
    shift: float = Field(ge=0, lt=0.5)  # share of the side, in any direction


class ExtractFeatures(Parameters):
    """extract-features@<cnn>."""

    batch: int = Field(gt=0)  # slices in a forward pass of one rank
    cache: bool  # write the maps; false: heads run the frozen CNNs themselves, on random views of the slices
