"""Parameters of `gan-train` and `gan-generate`."""

from typing import Literal

from pydantic import Field, model_validator

from settings.loader import Parameters

# Receptive field of a PatchGAN in pixels → (kernel, stride-2 layers). Each is these layers, then two of stride 1.
FIELDS = {11: (3, 1), 16: (4, 1), 23: (3, 2), 34: (4, 2), 47: (3, 3), 70: (4, 3), 142: (4, 4)}
Upsampling = Literal["nearest", "transposed"]


class Watch(Parameters):
    """What a validation warns of, each threshold by the name of its figure in validation.csv (`gan/watch.py`)."""

    after: int = Field(ge=0)  # images before which nothing is warned of: untrained networks do all of it
    half_life: float = Field(gt=0)  # images after which a loss of the adversarial game counts half
    fatal_after: int = Field(ge=0)  # validations in a row that CT's discriminator dominates, to stop; 0: never
    change: float = Field(ge=0, le=2)  # least mean |translated - photo|, of -1…1
    levels: float = Field(gt=0)  # most distance of the translations' levels to CT's, of the photos' own
    diversity: float = Field(ge=0)  # least difference between two translations, of that between two CT views
    likeness: float = Field(ge=0, le=2)  # most correlation of two translations, beyond that of two photos
    domination: float = Field(gt=0)  # most lead of a generator's adversarial loss over its discriminator's: 0…1
    confusion: float = Field(gt=0)  # most loss of a discriminator; 0.25: one that always answers ½, and equilibrium
    telling: float = Field(ge=0)  # least lead of a discriminator's answers on real images over those on the other kind
    checkerboard: float = Field(gt=0)  # most power at periods of 2 and 4 px, of CT's
    hidden: float = Field(ge=1)  # most cycle error after noise on the translation, of that without
    hidden_noise: float = Field(gt=0)  # sd of that noise in 8-bit levels
    oversaturated: float = Field(ge=0, le=1)  # most share of pixels at the range's ends, beyond CT's
    kid: int = Field(ge=2)  # held-out photos, and views of val patients' slices, that KID compares; at most


class GanTrain(Parameters):
    """Photos ↔ CT slices, unpaired. Zhu, Park, Isola, Efros: CycleGAN (arXiv 1703.10593)."""

    # How much
    side: int = Field(ge=16, le=1024, multiple_of=4)  # pixels of what the networks see; they halve it twice
    images: int = Field(ge=1)  # photos to see, and as many CT views, over all ranks
    batch: int = Field(ge=1)  # photos in a step, and as many CT views, over all ranks
    evaluate_every: int = Field(ge=1)  # images between validations and sample grids
    samples: int = Field(ge=2, le=64)  # fixed photos and CT views that validation and the grids show

    # Networks
    channels: Literal[1, 3]  # 1: luminance in, HU out, windows computed from it; 3: RGB in, three free windows out
    upsampling: Upsampling  # nearest and a convolution, or the paper's transposed convolution (checkerboards)
    ngf: int = Field(ge=1)  # generator filters at full resolution
    blocks: int = Field(ge=1)  # residual blocks of the generator
    ndf: int = Field(ge=1)  # discriminator filters of the first layer
    field: int  # pixels that one answer of the PatchGAN discriminator sees
    field_share: float = Field(gt=0, le=1)  # … at most so much of `side`: one that sees a head demands a head

    # Objective
    adversarial: float = Field(gt=0)  # weight of the least-squares GAN loss
    cycle: float = Field(ge=0)  # weight of |back(there(x)) - x|
    identity: float = Field(ge=0)  # weight of |there(y) - y|; the paper's is half of `cycle`
    consistency: float = Field(ge=0)  # weight of a photo classifier's cross-entropy on translations; 0: off
    noise_sd: float = Field(ge=0)  # noise on a translation before its return trip, in 8-bit levels (of 255)
    round_fakes: bool  # round a translation to 8 bits before its return trip, gradients straight through
    pool: int = Field(ge=0)  # earlier translations that the discriminators also see, per rank; 0: none

    # Optimiser
    learning_rate: float = Field(gt=0)
    beta1: float = Field(ge=0, lt=1)  # of Adam
    constant_share: float = Field(ge=0, le=1)  # of the images with the full learning rate; then linear to 0
    ema_half_life: float = Field(gt=0)  # images after which a weight counts half in the averaged weights

    # CT side
    ct_view: Literal["crops", "full"]  # crops inside the head, or whole slices
    ct_zoom: tuple[float, float]  # a crop is 1/zoom of the slice, drawn evenly between the two
    ct_tissue: float = Field(ge=0, le=1)  # least share of a crop that is not air
    ct_rotate: float = Field(ge=0, le=180)  # degrees, to either side
    ct_flip: bool

    # Photo side
    photo_zoom: tuple[float, float]  # a crop is 1/zoom of the photo's side
    photo_flip: bool

    watch: Watch

    @model_validator(mode="after")
    def _fits(self) -> "GanTrain":
        if self.field not in FIELDS:
            raise ValueError(f"field: there is no PatchGAN of {self.field} px; take one of {sorted(FIELDS)}")
        if self.field > self.field_share * self.side:
            fitting = [f for f in sorted(FIELDS) if f <= self.field_share * self.side]
            remedy = f"take field {fitting[-1]}" if fitting else f"side must be ≥ {min(FIELDS) / self.field_share:.0f}"
            raise ValueError(
                f"field: {self.field} px is more than field_share {self.field_share:g} of side {self.side}; "
                f"{remedy}, or raise field_share"
            )
        for name, (low, high) in (("ct_zoom", self.ct_zoom), ("photo_zoom", self.photo_zoom)):
            if not 1 <= low <= high:
                raise ValueError(f"{name}: must be [low, high] with 1 ≤ low ≤ high, got [{low:g}, {high:g}]")
        if self.pool and self.pool < self.batch:
            raise ValueError(f"pool: {self.pool} is less than batch {self.batch}; take 0 or at least {self.batch}")
        return self


class GanGenerate(Parameters):
    """Every photo through the trained translator."""

    batch: int = Field(ge=1)  # photos at once, on each rank
    side: int | None = Field(ge=16, multiple_of=4)  # pixels of the translated images; null: the photos' own side
