"""Parameters of the CNNs: their table, corpus pretraining, fine-tuning on CT, feature extraction."""

from typing import Annotated, Literal

from pydantic import Field

from settings.loader import Parameters

Share = Annotated[float, Field(ge=0, lt=1)]


class Weights(Parameters):
    """A safetensors file below `raw.weights`; another content than `sha256` is refused."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    batchnorm_eps: float = Field(default=1e-5, gt=0)  # 1e-3 for weights made by Keras
    licence: str = ""  # shown by `doctor`


class Cnn(Parameters):
    """One CNN of the table `cnns`."""

    architecture: str  # a timm name
    stage: str  # the module whose output is the feature map; block12 of legacy_xception is the paper's
    side: int = Field(ge=32)  # pixels; one of prepare_ct.sides
    start: Literal["imagenet", "random", "gan-pretrain"] | Weights
    trained_on: Literal["nothing", "ct"]
    seed: int = Field(ge=0)  # added to the shared seed


class Corpus(Parameters):
    """One corpus of the table `corpora`, for corpus-pretrain@<corpus>."""

    kind: Literal["photos"]


class Training(Parameters):
    """What both trainings of a CNN share."""

    images: int = Field(gt=0)  # images to see
    batch: int = Field(gt=0)  # images in a step, over all ranks
    learning_rate: float = Field(gt=0)  # of AdamW at its peak
    warmup_share: Share  # of the images, until the peak
    weight_decay: float = Field(ge=0)  # not on biases and norms
    evaluate_every: int = Field(gt=0)  # images between validations; the best weights are kept


class CorpusPretrain(Training):
    """corpus-pretrain@<corpus> and gan-pretrain: one budget, so that corpora compare."""

    architecture: str  # a timm name
    side: int = Field(ge=32)  # pixels that the CNN sees
    label_smoothing: Share
    crop: tuple[float, float]  # random resized crop: smallest and largest share of the area


class CnnFinetune(Training):
    """cnn-finetune@<cnn>."""

    rotate: float = Field(ge=0, le=180)  # degrees, either way
    shift: float = Field(ge=0, lt=0.5)  # share of the side, either way


class ExtractFeatures(Parameters):
    """extract-features@<cnn>."""

    batch: int = Field(gt=0)  # slices in a forward pass of one rank
