"""Parameters of the CNNs: their table, corpus pretraining, fine-tuning on CT, feature extraction."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.loader import Parameters

Share = Annotated[float, Field(ge=0, lt=1)]


class Weights(Parameters):
    """A safetensors file below `raw.weights`; another content than `sha256` is refused."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    batchnorm_eps: float = Field(gt=0)  # 1e-5 for weights made by PyTorch, 1e-3 for those made by Keras
    licence: str = ""  # shown by `doctor`


STARTS = ("imagenet", "random", "gan-pretrain")  # what `cnns.*.start` may be besides a corpus or a weights file


def pretrained(start: str | Weights, imagenet: bool) -> str | None:
    """The artifact that a start is; None for random weights and for a file (`imagenet`: whether that names one)."""
    if isinstance(start, Weights) or start == "random" or (start == "imagenet" and imagenet):
        return None
    corpus = {"imagenet": "photos", "gan-pretrain": "translated"}.get(start, start)
    return f"artifacts/pretrained/{corpus}"


class Cnn(Parameters):
    """One CNN of the table `cnns`."""

    architecture: str  # a timm name
    stage: str  # the module whose output is the feature map; block12 of legacy_xception is the paper's
    side: int = Field(ge=32)  # pixels; one of prepare_ct.sides
    start: str | Weights  # "imagenet", "random", "gan-pretrain", or a corpus of the table `corpora`
    trained_on: Literal["nothing", "ct"]
    seed: int = Field(ge=0)  # added to the shared seed


class Training(Parameters):
    """What every training of a CNN or a head has: AdamW, a linear warm-up, half a cosine, averaged weights."""

    images: int = Field(gt=0)  # images to see
    batch: int = Field(gt=0)  # images in a step, over all ranks
    learning_rate: float = Field(gt=0)  # at its peak
    warmup_share: Share  # of the images, until the peak
    weight_decay: float = Field(ge=0)  # not on biases, norms and position embeddings
    ema_half_life: float = Field(gt=0)  # images after which a weight counts half in the averaged weights
    evaluate_every: int = Field(gt=0)  # images between validations


class CorpusPretrain(Training):
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


class CnnFinetune(Training):
    """cnn-finetune@<cnn>: all weights, on the CNN half of the train patients."""

    flip: bool  # left-right, every second time
    rotate: float = Field(ge=0, le=180)  # degrees, to either side
    shift: float = Field(ge=0, lt=0.5)  # share of the side, in any direction


class ExtractFeatures(Parameters):
    """extract-features@<cnn>."""

    batch: int = Field(gt=0)  # slices in a forward pass of one rank
