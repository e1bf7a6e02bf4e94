"""Raw data enter by manifests: hashed name, size and SHA-256 of every file, small enough for DVC to track.

DVC hashing 180 GB of loose DICOM on every command would take minutes; it hashes the manifest instead, and each file
is checked against it as it is read. File names may hold patients' names: the manifest has their hashes, the
names themselves stay in git-ignored `work/names/`.
"""

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.csv import ConvertOptions, read_csv

from settings.errors import BadInput

HASHES_AT_ONCE = 2**16


class Entry(NamedTuple):
    """One raw file: hash of its path below the raw root (POSIX form), size in bytes, SHA-256 of its content."""

    id: str
    size: int
    sha256: str


def short_hash(name: str) -> str:
    """First 16 hex digits of SHA-256: what stands for a name or an ID in every artifact."""
    return hashlib.sha256(encode_name(name)).hexdigest()[:16]


def encode_name(name: str) -> bytes:
    """A name in UTF-8; bytes of a file's name that are no UTF-8 stay as the disk has them."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(name: bytes) -> str:
    """The inverse of `encode_name`: a name as `Path` takes it."""
    return name.decode("utf-8", "surrogateescape")


def short_hashes(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """`short_hash` of each (strings, or bytes of `encode_name`), an array of strings.

    So many at a time that a million need no memory of their own.
    """
    digits = bytearray()
    for start in range(0, len(names), HASHES_AT_ONCE):
        some = names.slice(start, HASHES_AT_ONCE).cast(pa.binary()).to_pylist()
        digits += b"".join([hashlib.sha256(name).digest()[:8] for name in some]).hex().encode()
    ends = np.arange(len(names) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(len(names), pa.py_buffer(ends), pa.py_buffer(bytes(digits)))


def write_manifest(root: Path, manifest: Path, memory: Path) -> int:
    """List the files below `root` (or `root` itself, if a file) in `manifest`; returns their number.

    `memory` (CSV: name, id, size, mtime_ns, sha256) lets a second call re-hash only files whose size or time changed.
    Hidden files and folders are left out. Raises BadInput when there is no file.
    """
    known: dict[str, dict[str, str]] = {}
    if memory.exists():
        with memory.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            known = {row["name"]: row for row in csv.DictReader(file)}
    rows = []
    for path in _files(root):
        name = path.name if path == root else path.relative_to(root).as_posix()
        status = path.stat()
        old = known.get(name)
        if old and old["size"] == str(status.st_size) and old["mtime_ns"] == str(status.st_mtime_ns):
            digest = old["sha256"]
        else:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        rows.append((name, short_hash(name), status.st_size, status.st_mtime_ns, digest))
    if not rows:
        raise BadInput(f"{root}: holds no file; check local.yaml: raw")
    for path, columns, chosen in (
        (memory, ("name", "id", "size", "mtime_ns", "sha256"), rows),
        (manifest, Entry._fields, sorted((r[1], r[2], r[4]) for r in rows)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(chosen)
        part.replace(path)
    return len(rows)


def manifest_table(manifest: Path) -> pa.Table:
    """What a manifest lists: id (string), size (int64), sha256 (string); BadInput if it is none."""
    if not manifest.exists():
        raise BadInput(f"{manifest}: missing; run `python pipeline.py manifest`, then `dvc add {manifest}`")
    types = pa.schema([("id", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
    try:
        table = read_csv(manifest, convert_options=ConvertOptions(column_types=types))
    except pa.ArrowInvalid as error:
        raise BadInput(f"{manifest}: is no manifest ({error}); run `python pipeline.py manifest`") from None
    if tuple(table.column_names) != Entry._fields:
        raise BadInput(f"{manifest}: is no manifest (columns {table.column_names}); run `python pipeline.py manifest`")
    return table


def listed_files(root: Path, manifest: Path) -> list[tuple[Path, Entry]]:
    """The manifest's files below `root`, in order of their names, each with its entry.

    Files that the manifest does not list are not read. Raises BadInput for a listed file that is not there, or a
    manifest that is none.
    """
    entries = _read(manifest)
    found = {}
    for path in _files(root):
        name = path.name if path == root else path.relative_to(root).as_posix()
        if entry := entries.get(short_hash(name)):
            found[entry.id] = (path, entry)
    if missing := entries.keys() - found.keys():
        raise BadInput(
            f"{root}: {len(missing)} of the {len(entries)} files listed in {manifest.name} are not there; "
            "check local.yaml: raw, or run `python pipeline.py manifest` again"
        )
    return sorted(found.values())


def read_verified(path: Path, entry: Entry | None) -> bytes:
    """The content of a raw file; BadInput if it is not what the manifest lists (None: nothing listed it)."""
    content = path.read_bytes()
    if entry and (len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256):
        raise BadInput(
            f"file {entry.id}: its content is not what the manifest lists; run `pipeline.py manifest`, then `dvc add`"
        )
    return content


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _read(manifest: Path) -> dict[str, Entry]:
    columns = (column.to_pylist() for column in manifest_table(manifest).columns)
    return {id_: Entry(id_, size, sha256) for id_, size, sha256 in zip(*columns, strict=True)}
