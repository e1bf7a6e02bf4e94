"""Parameters of `evaluate`, `floors` and `report`."""

from typing import Annotated

from pydantic import Field, model_validator

from settings.loader import Parameters

Clip = Annotated[float, Field(gt=0, le=0.01)]  # probabilities are held this far from 0 and 1 before the logarithm

Share = Annotated[float, Field(gt=0, lt=1)]


class Intervals(Parameters):
    """How far a figure may be off: patients drawn with replacement."""

    replicates: int = Field(ge=100, le=100_000)  # draws of patients
    confidence: float = Field(gt=0.5, lt=1)
    seed: int = Field(ge=0)  # of the draws alone


class Evaluate(Parameters):
    """Scores of a head on val and test."""

    clip: Clip  # Kaggle's: 1e-15; of floors too, else the rows of the table would not compare
    batch: int = Field(gt=0)  # slices in a forward pass, over all ranks; changes no figure
    intervals: Intervals  # of floors too
    bins: int = Field(ge=2, le=100)  # of the calibration error, equal in count, at most; Guo et al.: 15
    sensitivity: Share  # on val; the specificity there is counted on test
    specificity: Share  # on val; the sensitivity there is counted on test
    prevalence: Share  # for which predictive values are stated
    top: int = Field(ge=1)  # highest slices of a scan whose mean the aggregate takes
    occlude: int = Field(ge=0)  # positive test slices, at most, beside those shown, whose places are occluded in turn


class Floors(Parameters):
    """What answers without a network reach on test."""

    position_bins: int = Field(ge=1)  # equal bins of the slice's place in its series, 0 … 1
    position_smoothing: float = Field(gt=0)  # the prevalence counts as so many slices in each bin
    hyperdense: tuple[float, float]  # HU from … to: fresh blood
    bone: float  # HU from which a pixel is skull; at most the upper end of the stored range
    erode: float = Field(ge=0, lt=0.2)  # share of the side taken off the inside of the skull: bone's blurred edge

    @model_validator(mode="after")
    def _ranges_are_in_order(self) -> "Floors":
        if not self.hyperdense[0] < self.hyperdense[1] < self.bone:
            raise ValueError(f"hyperdense: must rise and stay below bone ({self.bone:g} HU)")
        return self


class Report(Parameters):
    """The page."""

    title: str = Field(min_length=1)
    dpi: int = Field(ge=50, le=600)  # dots per inch of figures that are drawn for it
    reference: str = Field(min_length=1)  # the variant or floor that every row of Table 1 is compared with
