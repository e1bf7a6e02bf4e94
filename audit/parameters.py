"""Parameters of `gan-audit`."""

from typing import Literal

from pydantic import Field, model_validator

from settings.loader import Parameters


class HeldOutClassifier(Parameters):
    """A timm classifier of ImageNet's 1000 classes: the audit's own, which no training has used."""

    architecture: str  # timm's name
    file: str  # safetensors below local.yaml: raw.weights
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    side: int = Field(ge=16, le=1024)  # pixels that it reads
    licence: str = ""  # shown by `doctor`
    classes: Literal["imagenet"]  # its outputs: the 1000 wnids in the order of synset_words.txt beside the photos


class Retrieval(Parameters):
    """What is done to a translation before its photo is looked for."""

    blur: float = Field(ge=0)  # sigma in pixels of an image of side 96; scaled to the images' own side
    noise_sd: float = Field(ge=0)  # in 8-bit levels (of 255), after the blur


class Probe(Parameters):
    """The logistic probe on frozen features: what it is fitted on and what is done to the images it is tested on."""

    train_photos: int = Field(ge=2)  # at most so many train photos, spread evenly over the classes
    seeds: int = Field(ge=1, le=20)  # draws of the train photos' weights
    inverse_penalty: float = Field(gt=0)  # C of scikit-learn's LogisticRegression, on features of sd 1
    blur: float = Field(ge=0)  # sigma in pixels of an image of side 96
    noise_sd: float = Field(ge=0)  # in 8-bit levels (of 255)
    jpeg_quality: int = Field(ge=1, le=95)  # Pillow's


class CtViews(Parameters):
    """What of the val patients' slices the translations are held against: best what the translator was shown."""

    kind: Literal["crops", "full"]  # crops inside the head, or whole slices
    zoom: tuple[float, float]  # a crop is 1/zoom of the slice
    tissue: float = Field(ge=0, le=1)  # least share of a crop that is not air
    count: int = Field(ge=2)  # at most so many, spread evenly over the val patients' slices

    @model_validator(mode="after")
    def _zooms_in(self) -> "CtViews":
        if not 1 <= self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom: must be [low, high] with 1 ≤ low ≤ high, got {list(self.zoom)}")
        return self


class GanAudit(Parameters):
    """Is the translated corpus any good?"""

    photos: int = Field(ge=2)  # at most so many held-out photos, spread evenly over the classes
    confidence: float = Field(gt=0.5, lt=1)  # of the intervals
    retrieval: Retrieval
    probe: Probe
    brain: tuple[float, float]  # HU: what looks like brain, whose histogram is compared on its own
    ct: CtViews
    squeezed: tuple[float, float]  # HU: the range of the grey photos that show what contrast alone does to a classifier
    columns: int = Field(ge=1, le=24)  # photos and CT views that the sample grid shows
    batch: int = Field(ge=1)  # images at once through the network, on each rank
    classifier: HeldOutClassifier | None  # null: the CNN that corpus-pretrain@photos trained
