"""Parameters of `prepare-ct` and `split-ct`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.loader import Parameters

Side = Annotated[int, Field(ge=16, le=1024)]


class PrepareCt(Parameters):
    """DICOM files → slices as images."""

    source: Literal["phantom", "folder"]  # the drawn phantoms, or the files that data/ct.csv lists
    ids: Literal["hash", "rsna"]  # a slice's id: hash of its SOPInstanceUID, or the UID itself (RSNA's `ID_…`)
    sides: tuple[Side, ...] = Field(min_length=1)  # pixels; one corpus of three windows for each
    hu_side: Side  # pixels; the one-channel corpus that the translator crops from

    @model_validator(mode="after")
    def _sides_differ(self) -> "PrepareCt":
        if len(set(self.sides)) < len(self.sides):
            raise ValueError(f"sides: {list(self.sides)} names a side twice; remove one")
        return self


class SplitCt(Parameters):
    """Patients → train (CNN half, head half), val, test."""

    seed: int
    folds: int = Field(ge=2)  # patients are dealt into so many equal folds …
    fold: int = Field(ge=0)  # … and this one is the test part
    val_share: float = Field(gt=0, lt=1)  # of the patients outside the test part
    cnn_share: float = Field(gt=0, lt=1)  # of the train patients: CNNs are fitted on these, heads on the others

    @model_validator(mode="after")
    def _fold_exists(self) -> "SplitCt":
        if self.fold >= self.folds:
            raise ValueError(f"fold: {self.fold} of {self.folds} folds does not exist; they count from 0")
        return self
