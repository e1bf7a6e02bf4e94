"""Parameters of `phantom-ct`."""

from typing import Annotated

from pydantic import Field, model_validator

from settings.loader import Parameters

Share = Annotated[float, Field(ge=0, le=1)]
Radius = Annotated[float, Field(ge=5, le=60)]
Few = Annotated[int, Field(ge=0, le=1000)]


class SubtypeShares(Parameters):
    """Share of all series that have a bleed of each subtype."""

    epidural: Share
    intraparenchymal: Share
    intraventricular: Share
    subarachnoid: Share
    subdural: Share


class AgeShares(Parameters):
    """Share of epidural, intraparenchymal and subdural bleeds of each age; they sum to 1.

    Only subdural ones are drawn chronic, intraparenchymal ones in their place subacute, epidural ones mixed.
    """

    acute: Share  # 50 … 75 HU, brighter than brain
    mixed: Share  # acute with swirls of fresh blood, 35 … 46 HU
    subacute: Share  # 38 … 46 HU, near that of brain
    chronic: Share  # 15 … 28 HU; in a third of them fresh blood on the ground

    @model_validator(mode="after")
    def _all(self) -> "AgeShares":
        if abs((total := sum(self.model_dump().values())) - 1) > 1e-6:
            raise ValueError(f"ages: their shares sum to {total:g}; they must sum to 1")
        return self


class Radii(Parameters):
    """Median radius of a bleed of each subtype, mm: how far it reaches from its middle, along the skull or sulci."""

    epidural: Radius
    intraparenchymal: Radius  # 12.4 is 8 ml
    intraventricular: Radius
    subarachnoid: Radius
    subdural: Radius


class Bleeds(Parameters):
    """How large and how old bleeds are."""

    radius_mm: Radii
    radius_log_sd: float = Field(ge=0, le=1)  # radii are log-normal with this standard deviation of their logarithm
    ages: AgeShares


class KindShares(Parameters):
    """Share of the series that are stored in each of the ways RSNA's are; they sum to 1.

    Of 2,157 slices of the competition 40 % were `implicit`, 10 % `explicit` (one patient of them `high_intercept`),
    46 % `padded` and 4 % `decimal`.
    """

    implicit: Share  # 12-bit unsigned, implicit VR, two-valued windows
    explicit: Share  # 12-bit unsigned, explicit VR, two-valued windows
    high_intercept: Share  # the same with intercept -1000: nothing below -1000 HU
    padded: Share  # 16-bit signed, -2000 stored outside the scanner's circle
    decimal: Share  # 16-bit signed, intercept written `-1024.000000`

    @model_validator(mode="after")
    def _all(self) -> "KindShares":
        if abs((total := sum(self.model_dump().values())) - 1) > 1e-6:
            raise ValueError(f"kinds: their shares sum to {total:g}; they must sum to 1")
        return self


class Oddities(Parameters):
    """What real exports have of it: how many, each but `duplicate_rows` in a patient of its own, from the first on."""

    truncated: Few  # series with an extra slice whose file is cut short; it has label rows
    glitch: Few  # series with the 12-bit glitch: values below 0 HU wrapped round 4096, intercept 0
    other_size: Few  # series of 464 × 400 pixels
    duplicate_positions: Few  # series with one slice scanned twice: another id, the same position
    metal: Few  # series with a clip of up to 27,000 HU and its streaks, stored `decimal`
    duplicate_rows: Few  # slices whose label rows are written twice


class PhantomCt(Parameters):
    """Drawn head CTs, one series a patient, with the five kinds of bleed."""

    seed: int = Field(ge=0)
    patients: int = Field(ge=1, le=1_000_000)
    slices: int = Field(ge=1, le=60)  # a series; contiguous, at a random height of the head
    slice_mm: float = Field(ge=1, le=10)  # between slices, and their thickness
    any_share: Share  # of the series have a bleed
    subtype_shares: SubtypeShares
    bleeds: Bleeds
    mimic_share: Share  # how often a head has each of the things that look like a bleed, at most
    tilt: float = Field(ge=0, le=30)  # degrees; gantry tilt of two thirds of the series, at most
    noise: float = Field(ge=0, le=20)  # HU; median over patients of the standard deviation at 512²
    cupping: float = Field(ge=0, le=20)  # HU; what beam hardening adds to brain at bone, at most
    model_side: int = Field(ge=32, le=512)  # pixels; a bleed is labelled only where it can be seen at this size
    kinds: KindShares
    oddities: Oddities

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
        odd = sum(self.oddities.model_dump(exclude={"duplicate_rows"}).values())
        if odd > self.patients:
            raise ValueError(f"oddities: {odd} series are to be odd, of {self.patients}; at most one a patient")
        return self
