"""Parameters of `phantom-ct`."""

from typing import Annotated

from pydantic import Field, model_validator

from settings.loader import Parameters

Share = Annotated[float, Field(ge=0, le=1)]


class SubtypeShares(Parameters):
    """Share of all series that have a bleed of each subtype."""

    epidural: Share
    intraparenchymal: Share
    intraventricular: Share
    subarachnoid: Share
    subdural: Share


class PhantomCt(Parameters):
    """Drawn head CTs, one series a patient, with the five kinds of bleed."""

    seed: int = Field(ge=0)
    patients: int = Field(ge=1, le=1_000_000)
    slices: int = Field(ge=1, le=60)  # a series; contiguous, at a random height of the head
    slice_mm: float = Field(ge=1, le=10)  # between slices, and their thickness
    any_share: Share  # of the series have a bleed
    subtype_shares: SubtypeShares
    easy_share: Share  # of the bleeds are acute, so brighter than brain; the others are mixed, subacute or chronic
    mimic_share: Share  # how often a head has each of the things that look like a bleed, at most
    tilt: float = Field(ge=0, le=30)  # degrees; gantry tilt of two thirds of the series, at most
    noise: float = Field(ge=0, le=20)  # HU; median over patients of the standard deviation at 512²
    cupping: float = Field(ge=0, le=20)  # HU; what beam hardening adds to brain at bone, at most
    signed_share: Share  # of the series are stored as 16-bit signed, the others as 12-bit unsigned
    model_side: int = Field(ge=32, le=512)  # pixels; a bleed is labelled only where it can be seen at this size
    truncated: int = Field(ge=0, le=10)  # files cut short: extra slices, with label rows

    @model_validator(mode="after")
    def _shares_fit(self) -> "PhantomCt":
        shares = self.subtype_shares.model_dump()
        largest = max(shares, key=lambda name: shares[name])
        if shares[largest] > self.any_share:
            raise ValueError(
                f"subtype_shares.{largest}: {shares[largest]:g} is above any_share {self.any_share:g}; lower it"
            )
        if sum(shares.values()) < self.any_share:
            raise ValueError(f"any_share: {self.any_share:g} is above the sum of subtype_shares; lower it")
        if self.truncated > self.patients:
            raise ValueError(f"truncated: {self.truncated} is above patients ({self.patients}); at most one a patient")
        return self
