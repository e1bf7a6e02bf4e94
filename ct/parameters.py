"""Parameters of `prepare-ct` and `split-ct`."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.loader import Parameters

Side = Annotated[int, Field(ge=16, le=1024)]
# What label-report.csv lists; what each one is, `ct.labels` and `ct.identical` say.
Rule = Literal[
    "duplicate-row", "conflicting-rows", "missing-subtype", "unknown-subtype", "any-differs", "label-without-slice",
    "slice-without-label", "shared-pixels", "pixels-labelled-differently", "shared-series",
]  # fmt: skip


class PrepareCt(Parameters):
    """DICOM files → slices as images."""

    source: Literal["phantom", "folder"]  # the drawn phantoms, or the files that data/ct.csv lists
    ids: Literal["hash", "rsna"]  # a slice's id: hash of its SOPInstanceUID, or the UID itself (RSNA's `ID_…`)
    sides: tuple[Side, ...] = Field(min_length=1)  # pixels; one corpus of three windows for each
    hu_side: Side  # pixels; the one-channel corpus that the translator crops from
    rejects_at_most: float = Field(ge=0, le=1)  # share of the files; more of them refused is an error

    @model_validator(mode="after")
    def _sides_differ(self) -> "PrepareCt":
        if len(set(self.sides)) < len(self.sides):
            raise ValueError(f"sides: {list(self.sides)} names a side twice; remove one")
        return self


class SplitCt(Parameters):
    """Patients → train (CNN half, head half), val, test, hold-out."""

    seed: int
    hold_out_share: float = Field(ge=0, lt=1)  # of the patients: taken first, the same for every seed; 0: none
    folds: int = Field(ge=2)  # the other patients are dealt into so many equal folds …
    fold: int = Field(ge=0)  # … and this one is the test part
    val_share: float = Field(gt=0, lt=1)  # of the patients outside the test part
    cnn_share: float = Field(gt=0, lt=1)  # of the train patients: CNNs are fitted on these, heads on the others
    file: str | None  # folds or parts from a file in place of dealing them (see `ct.folds`)
    fatal: tuple[Rule, ...]  # findings in the label CSV and the pixels that are an error

    @model_validator(mode="after")
    def _folds_exist(self) -> "SplitCt":
        if self.fold >= self.folds:
            raise ValueError(f"fold: {self.fold} of {self.folds} folds does not exist; they count from 0")
        if self.file:
            path = PurePosixPath(self.file)
            if path.is_absolute() or path.suffix != ".csv" or {"..", "artifacts"} & {*path.parts}:
                raise ValueError(f"file: {path} must be a CSV in the repository, outside of artifacts: data/folds.csv")
        if self.file and self.hold_out_share:
            raise ValueError(
                f"hold_out_share: {self.hold_out_share:g}, but {self.file} says who is held out; set it to 0"
            )
        return self
