"""Files, folders and scans that a user names: their series, what of these can be taken, and what is odd about them."""

import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.manifest import encode_name, short_hash
from ct.dicom import Extent, Refused, Slice
from ct.raw_files import RawFiles
from ct.read import Frame, frames_of, read_frames
from ct.scan import extent_of
from ct.series import SAME_ORIENTATION, SAME_PLACE, SeriesFinding, inspect_series
from ct.stacks import (
    TRAINED_MM,
    TRAINED_RANGE,
    Part,
    Refuse,
    Size,
    average,
    is_outside,
    is_thin,
    plan_slabs,
    usual_size,
)
from settings.errors import BadInput

LEAST_UPRIGHT = math.cos(math.radians(45))  # of a normal along the body; beyond it lie coronal and sagittal slices
OUTSIDE = "outside the training range"


class Series(NamedTuple):
    """Slices of one series and one orientation, in order."""

    name: str  # "s0001"
    frames: list[Frame]
    positions: npt.NDArray[np.float64]  # mm along the normal, ascending; nan of a lone slice without a place
    warnings: list[str]  # of each slice, `ct.dicom.Header.warnings` joined by blanks
    extents: list[Extent]  # of each slice, by its header
    finding: SeriesFinding

    @property
    def thickness(self) -> float:
        """Of its slices, in mm: the median of what headers say; nan where none does."""
        given = [extent.thickness for extent in self.extents if extent.thickness]
        return float(np.median(given)) if given else math.nan

    @property
    def is_averaged(self) -> bool:
        """Whether its slices are so thin that they are averaged, and not thick ones that overlap."""
        return is_thin(self.finding.spacing) and (math.isnan(self.thickness) or is_thin(self.thickness))

    def frame(self, row: int) -> int | None:
        """The number of a slice in its file, from 1; None where the file has no other."""
        return self.frames[row].number + 1 if self.extents[row].frames > 1 else None


def given_files(paths: Sequence[Path]) -> tuple[RawFiles, dict[str, str], dict[str, Refused]]:
    """The files that are named, and all in the folders that are; by `RawFile.id` each one's path as it was given; and
    by path what is not taken: folders that cannot be listed or are links inside another, and what is no regular file.

    Hidden files in folders are left out; a file that is named twice is read once. BadInput where there is none.
    """
    found: dict[str, str] = {}  # below the root of the file system: as given
    left: dict[str, Refused] = {}
    for path in paths:
        for file in _below(path, left) if path.is_dir() else [path]:
            if why := _no_file(file):
                left[str(file)] = why
            else:
                found.setdefault(file.resolve().relative_to(file.resolve().anchor).as_posix(), str(file))
    if not found:
        raise BadInput(
            "".join(f"{path}: {why}; " for path, why in left.items())
            + f"{', '.join(map(str, paths))}: no file there; name DICOM files, or folders that hold some"
        )
    names = sorted(found)
    nothing = {"size": pa.nulls(len(names), pa.int64()), "sha256": pa.nulls(len(names), pa.string())}
    files = RawFiles(
        Path(paths[0].resolve().anchor), pa.table({"name": pa.array(map(encode_name, names), pa.binary()), **nothing})
    )
    return files, {short_hash(name): path for name, path in found.items()}, left


def series_of(
    files: RawFiles, ordered: pa.Table, refuse: Callable[[str, Refused, int | None], None]
) -> Iterator[Series]:
    """The series of `ct.scan.scan`'s table. Slices that are not axial, or lie across the most of their series, are
    refused: `refuse` is told the `RawFile.id`, the reason and the `Series.frame`.
    """
    names = ordered["series"].cast(pa.string()).to_pylist()
    for name, group in groupby(range(len(names)), key=names.__getitem__):
        rows = ordered.take(pa.array(group))
        whole, misplaced = _series(name, files, rows), _misplaced(rows)
        for row, why in enumerate(misplaced):
            if why:
                refuse(whole.frames[row].file.id, why, whole.frame(row))
        kept = [row for row, why in enumerate(misplaced) if not why]
        if kept:
            yield whole if len(kept) == len(misplaced) else _series(name, files, rows.take(pa.array(kept)))


def parts_of(series: Series, refuse: Refuse, average_thin: bool) -> Iterator[Part]:
    """The slices of a series as a model takes them, read one after another; thin ones are averaged if that is asked."""

    def readable() -> Iterator[tuple[int, Slice]]:
        for row, slice_ in enumerate(read_frames(series.frames, "and ask again")):
            if isinstance(slice_, Refused):
                refuse(row, slice_)
            else:
                yield row, slice_

    if average_thin and series.is_averaged:
        # As headers have it: the first slice may be the odd one, and pixels are read once.
        size = usual_size(Size(one.rows, one.columns, one.pixel_spacing) for one in series.extents)
        return average(plan_slabs(series.positions), readable(), size, refuse)
    return (Part((row,), float(series.positions[row]), slice_) for row, slice_ in readable())


def flags_of(series: Series, read: int) -> list[str]:
    """What a reader of its answers must know; `read`: how many of its slices could be read."""
    found, flags = series.finding, []
    steps = np.diff(series.positions)
    steps = steps[steps > SAME_PLACE]
    learnt = "learnt from {}-{}".format(*TRAINED_RANGE)
    if np.isnan(series.positions).any():
        flags.append("position unknown")
    elif not len(steps):
        alone = len(series.positions) == 1
        flags.append(f"spacing unknown: {'a lone slice' if alone else 'all slices at one position'}")
    elif series.is_averaged:
        flags.append(f"averaged from {found.spacing:.2f} to {TRAINED_MM} mm")
    elif is_thin(found.spacing):
        flags.append(f"{OUTSIDE}: {series.thickness:.1f} mm slices overlap, {found.spacing:.1f} mm apart, {learnt}")
    elif is_outside(found.spacing):
        flags.append(f"{OUTSIDE}: {found.spacing:.1f} mm between slices, {learnt}")
    elif is_outside(steps.min()):
        flags.append(f"{OUTSIDE}: steps from {steps.min():.1f} mm, {learnt}")
    whole = found.slices + found.missing
    if read < whole:
        flags.append(f"{read} of {whole} slices")
    if found.duplicates:
        flags.append(f"{found.duplicates} slices repeat a position")
    return flags


def _below(folder: Path, left: dict[str, Refused]) -> Iterator[Path]:
    """What is in a folder and those below it and is no folder, in order; `left` gets what is not entered, and why."""

    def unlisted(error: OSError) -> None:
        left[str(error.filename)] = Refused("unreadable", error.strerror or type(error).__name__)

    for name, folders, others in os.walk(folder, onerror=unlisted):
        here = Path(name)
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for one in folders:
            if os.path.islink(here / one):  # noqa: PTH114 (pathlib raises where it may not look)
                left[str(here / one)] = Refused("linked-folder", "is not entered; name it as a folder of its own")
        yield from (here / one for one in sorted(others) if not one.startswith("."))


def _no_file(path: Path) -> Refused | None:
    """Why there is no regular file; None: there is. To open a pipe would be to wait for who writes into it."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return Refused("unreadable", error.strerror or type(error).__name__)
    return None if regular else Refused("no-file", "is a pipe, socket or device")


def _series(name: str, files: RawFiles, rows: pa.Table) -> Series:
    positions, warnings = rows["position"].to_numpy(), rows["warnings"].cast(pa.string()).to_pylist()
    extents = [extent_of(text) for text in rows["extent"].to_pylist()]
    return Series(name, frames_of(files, rows), positions, warnings, extents, inspect_series(rows)[0])


def _misplaced(rows: pa.Table) -> list[Refused | None]:
    """Why slices of a series do not lie as those of a head scan do; None: they do."""
    normals = list(zip(*(rows[axis].to_pylist() for axis in "xyz"), strict=True))
    usual = Counter(normals).most_common(1)[0][0]
    if abs(usual[2]) < LEAST_UPRIGHT:
        return [Refused("not-axial", "its series is not axial (coronal or sagittal)")] * len(normals)
    across = Refused("orientation", "lies across the most slices of its series")
    return [across if math.dist(normal, usual) > SAME_ORIENTATION else None for normal in normals]
