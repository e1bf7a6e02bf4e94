"""Parameters of `prepare-photos`."""

from typing import Literal

from pydantic import Field, model_validator

from settings.loader import Parameters


class Drawn(Parameters):
    """The embedded photos: scenes drawn by `photos/drawn.py`."""

    classes: int = Field(ge=2, le=12)  # the first so many of the kinds that photos/objects.py can draw
    per_class: int = Field(ge=2)  # photos of each class, both parts together
    held_out_share: float = Field(gt=0, lt=1)  # of them are the part "val": never seen by the translator
    seed: int = Field(ge=0)

    @property
    def held_out(self) -> int:
        """Photos of each class in the part "val"."""
        return min(self.per_class - 1, max(1, round(self.per_class * self.held_out_share)))


class Splits(Parameters):
    """Folders below the raw root `photos`: `<split>/<wnid>/<name>.jpg`."""

    train: str = Field(min_length=1)
    val: str = Field(min_length=1)  # held out: the audit's photos

    @model_validator(mode="after")
    def _differ(self) -> "Splits":
        if self.train == self.val:
            raise ValueError(f"train and val are both '{self.train}'; held-out photos need a folder of their own")
        return self


class PreparePhotos(Parameters):
    """Photos → one image corpus with a train and a val part."""

    source: Literal["drawn", "folder"]  # the embedded photos, or the files that data/photos.csv lists
    side: int = Field(ge=16, le=1024)  # pixels: short side resized to this, then the centre square
    drawn: Drawn
    folder: Splits
