"""The raw DICOM files as a table: of 750,000 each takes some 100 bytes, where a path and tuples take a kilobyte."""

import os
from array import array
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from corpus.manifest import Entry, decode_name, encode_name, manifest_table, short_hashes
from settings.errors import BadInput


class RawFiles(NamedTuple):
    """Files below `root`. `table`: name (bytes, below the root), and the manifest's size and sha256, or null."""

    root: Path
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)


class RawFile(NamedTuple):
    """One file to read: where it is, the hash that stands for its name, what the manifest says of it (or None)."""

    path: Path
    id: str
    entry: Entry | None


def find_files(root: Path, manifest: Path | None) -> RawFiles:
    """The files below `root` that the manifest lists or, without one, every `*.dcm`, in order of their names.

    Hidden files and folders are left out. BadInput where there is none, or a listed one is missing.
    """
    names = files_below(root)
    if manifest is None:
        names = names.filter(pc.ends_with(names, b".dcm"))
        if not len(names):
            raise BadInput(f"{root}: holds no .dcm file; rerun the stage that writes it")
        nothing = {"size": pa.nulls(len(names), pa.int64()), "sha256": pa.nulls(len(names), pa.string())}
        return RawFiles(root, pa.table({"name": names, **nothing}))
    listed = manifest_table(manifest)
    hashes = short_hashes(names)
    listed = listed.append_column("at", pc.index_in(listed["id"], value_set=hashes))
    if missing := listed["at"].null_count:
        raise BadInput(
            f"{root}: {missing} of the {listed.num_rows} files listed in {manifest.name} are not there; "
            "check local.yaml: raw, or run `python pipeline.py manifest` again"
        )
    listed = listed.sort_by("at")
    return RawFiles(
        root, pa.table({"name": names.take(listed["at"]), "size": listed["size"], "sha256": listed["sha256"]})
    )


def chosen(files: RawFiles, rows: pa.Array | pa.ChunkedArray) -> list[RawFile]:
    """The files of the given rows."""
    table = files.table.take(rows)
    columns = (column.to_pylist() for column in (*table.columns, short_hashes(table["name"])))
    return [
        RawFile(files.root / decode_name(name), id_, None if size is None else Entry(id_, size, sha256))
        for name, size, sha256, id_ in zip(*columns, strict=True)
    ]


def files_below(root: Path) -> pa.Array:
    """Names of the files below a folder (bytes, see `encode_name`), in order; hidden files and folders are left out."""
    names, ends = bytearray(), array("i", [0])
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not entry.is_dir():
                    names += encode_name(below + entry.name)
                    ends.append(len(names))
                elif not entry.is_symlink():
                    folders.append(f"{below}{entry.name}/")
    found = pa.BinaryArray.from_buffers(pa.binary(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(names)])
    return found.take(pc.sort_indices(found))
