"""Arrays on disk as a few large `.npy` files: written atomically, resumed by shard, read by memory map.

A corpus of a million loose files makes every DVC command slow; twenty shards do not. Shards may differ in length
(unreadable slices are missing from theirs); the rows of a folder count on over its shards in order of their names.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from settings.errors import BadArtifact

SHARD_BYTES = 128 * 2**20


def rows_per_shard(row_bytes: int, count: int, at_least: int = 1) -> int:
    """Rows in a shard: at most 128 MiB of them, and few enough that there are `at_least` shards to share out."""
    return max(1, min(SHARD_BYTES // row_bytes, -(-count // at_least)))


def shard_ranges(count: int, rows: int) -> list[tuple[int, int]]:
    """[start, stop) of each shard over `count` rows."""
    return [(start, min(start + rows, count)) for start in range(0, count, rows)]


def evenly(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of `count` rows, evenly over all of them, the first and the last among them; in order."""
    return np.unique(np.linspace(0, max(0, count - 1), min(most, count)).astype(np.int64))


def shard_path(folder: Path, number: int, prefix: str = "images") -> Path:
    """`folder/images-00000.npy`."""
    return folder / f"{prefix}-{number:05d}.npy"


def write_shard(folder: Path, number: int, rows: npt.NDArray[Any], prefix: str = "images") -> Path:
    """Write one shard beside its name and rename it, so that a shard that exists is whole."""
    path = shard_path(folder, number, prefix)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def link(made: Path, place: Path) -> None:
    """A second name for a finished shard, or a copy where the file system has no hard links."""
    try:
        os.link(made, place)
    except OSError:
        shutil.copyfile(made, place)


class Shards:
    """The rows of a folder's shards (`<prefix>-*.npy`), memory-mapped.

    `read` takes row numbers in any order, with repeats, and returns an array of shape (n, *row) in that order.
    """

    def __init__(self, folder: Path, prefix: str = "images") -> None:
        self.folder = folder
        paths = sorted(folder.glob(f"{prefix}-*.npy"))
        if not paths:
            raise BadArtifact(f"{folder}: holds no {prefix}-*.npy; rerun the stage that writes it")
        try:
            self._maps = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        except ValueError as error:
            raise BadArtifact(
                f"{folder}: a shard is damaged ({error}); delete the folder and rerun its stage"
            ) from None
        self._ends = np.cumsum([len(m) for m in self._maps])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self._maps[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._maps[0].dtype

    def read(self, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        """The given rows, copied; IndexError outside 0…len-1."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows {rows.min()}…{rows.max()} of {len(self)} in {self.folder}")
        out = np.empty((len(rows), *self.row_shape), dtype=self.dtype)
        shard = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(shard):
            chosen = np.flatnonzero(shard == number)
            first = self._ends[number] - len(self._maps[number])
            out[chosen] = self._maps[number][rows[chosen] - first]
        return out

    def batches(self, size: int) -> Iterator[npt.NDArray[Any]]:
        """All rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))
