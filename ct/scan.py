"""Every header once, before any pixel: which slices there are, in which order, and which files are refused.

Headers are read in pieces of 500 files, each of which leaves a table in the work folder: a run that was killed reads
the others only, and several processes share them out. Identifiers are hashed before they are written.
"""

import csv
import json
import warnings
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.images import Reject
from corpus.manifest import decode_name, short_hash, short_hashes
from corpus.sharing import Share, wait_for_files
from corpus.workers import Progress, Run, ahead, alone
from ct.dicom import Encoding, Extent, Header, Known, Native, Refused, read_headers
from ct.raw_files import RawFile, RawFiles, chosen
from ct.series import order

FILES_A_PIECE = 500
NAMES_AT_ONCE = 2**16
WORDS = pa.dictionary(pa.int32(), pa.string())
# A row for each frame, or for a file that is refused (`rule` is then not empty, and the columns before it are).
PIECE = pa.schema(
    [
        ("file", pa.int32()), ("frame", pa.int32()), ("id", pa.string()), ("patient", WORDS), ("series", WORDS),
        ("position", pa.float64()), ("x", pa.float64()), ("y", pa.float64()), ("z", pa.float64()),
        ("kind", WORDS), ("warnings", WORDS),
        ("head", pa.uint64()), ("start", pa.int32()), ("native", WORDS),  # of `ct.dicom.Known`; native as JSON
        ("extent", WORDS),  # `ct.dicom.Extent` as JSON; empty where there is none
        ("study", WORDS), ("rule", pa.string()), ("reason", pa.string()),
    ]
)  # fmt: skip
ORDERED = [*PIECE.names[:15], "linked"]
ORDER, REFUSED = "order.arrow", "refused.parquet"  # in the work folder


class _Piece(NamedTuple):
    """One task: files whose headers are read, the first one's number, and where the table goes."""

    start: int
    files: list[RawFile]
    hashed: bool
    lenient: bool
    path: Path


def scan(
    files: RawFiles,
    hashed: bool,
    work: Path,
    run: Run,
    share: Share,
    who: str = "prepare-ct",
    workers: int = 1,
    lenient: bool = False,
) -> tuple[pa.Table, list[Reject]]:
    """The slices in order (a row each, columns ORDERED: `file` counts in `files`), and the files that are refused.

    `hashed`: ids are hashes of the SOPInstanceUID, else the UID itself. `patient`, `series` and `linked` are ordinals
    ("p0001", see `ct.series.Order`), `warnings` rule words joined by blanks. `who` asks, for the progress lines. With
    more than one of `workers` the ordering has a process of its own. `lenient`: see `ct.dicom.read_headers`. The table
    is a map of a file in `work`, where `names.csv` is left too: the name and the slice that hashes stand for.
    """
    count = -(-len(files) // FILES_A_PIECE)
    pieces = [work / f"headers-{number:05d}.parquet" for number in range(count)]
    if not (work / ORDER).exists():
        waiting = [number for number in share.mine(range(count)) if not pieces[number].exists()]
        tasks = (_piece(files, number, hashed, lenient, pieces[number]) for number in waiting)
        progress = Progress(who, "headers", sum(len(_rows(files, number)) for number in waiting))
        for done in run(_read_piece, tasks):
            progress.add(done)
        wait_for_files(pieces, share, f"{who}: headers")
        if share.rank == 0:
            alone(workers, _write_order, files, pieces, work)
        else:
            wait_for_files([work / ORDER], share, f"{who}: order of the slices")
    return read_scan(work)


def read_scan(work: Path) -> tuple[pa.Table, list[Reject]]:
    """What `scan` returned."""
    rejects = [Reject(**row) for row in pq.read_table(work / REFUSED).to_pylist()]
    with pa.memory_map(str(work / ORDER)) as file:
        return pa.ipc.open_file(file).read_all(), rejects


def known_of(head: int, start: int, native: str) -> Known:
    """What the header pass left for reading a slice's pixels, of a row of `scan`'s table."""
    return Known(head, start, _native(native) if native else None)


@lru_cache(maxsize=1024)
def extent_of(text: str) -> Extent:
    """How large a slice is, of a row of `scan`'s table."""
    frames, rows, columns, spacing, thickness = json.loads(text)
    return Extent(frames, rows, columns, spacing and tuple(spacing), thickness)


@lru_cache(maxsize=1024)
def _native(text: str) -> Native:
    length, frames, rows, columns, encoding, spacing = json.loads(text)
    encoding = Encoding._make([*encoding[:-1], encoding[-1] and tuple(encoding[-1])])
    return Native(length, frames, rows, columns, encoding, spacing and tuple(spacing))


def _rows(files: RawFiles, number: int) -> range:
    return range(number * FILES_A_PIECE, min((number + 1) * FILES_A_PIECE, len(files)))


def _piece(files: RawFiles, number: int, hashed: bool, lenient: bool, path: Path) -> _Piece:
    rows = _rows(files, number)
    return _Piece(rows.start, chosen(files, pa.array(rows)), hashed, lenient, path)


def _read_piece(piece: _Piece) -> int:
    """Read the headers of a piece and write their table; returns the number of files."""
    rows: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        # pydicom's are silenced file by file, but in threads each such block may undo another's.
        warnings.simplefilter("ignore")
        for file, found in enumerate(ahead(partial(_read_one, piece.lenient), piece.files), piece.start):
            rows += _piece_rows(file, found, piece.hashed)
    _write(pa.Table.from_pylist(rows, PIECE), piece.path)
    return len(piece.files)


def _piece_rows(file: int, found: list[Header] | Reject, hashed: bool) -> list[dict[str, Any]]:
    if isinstance(found, Reject):
        return [{"file": file, "rule": found.rule, "reason": found.reason}]
    return [
        {
            "file": file,
            "frame": header.frame,
            "id": short_hash(header.id) if hashed else header.id,
            "patient": short_hash(header.patient),
            "series": short_hash(header.series),
            "study": short_hash(header.study) if header.study else "",
            "position": header.position,
            **dict(zip("xyz", header.normal, strict=True)),
            "kind": header.kind,
            "warnings": " ".join(header.warnings),
            "head": header.known.head,
            "start": header.known.start,
            "native": json.dumps(header.known.native) if header.known.native else "",
            "extent": json.dumps(header.extent) if header.extent else "",
            "rule": "",
        }
        for header in found
    ]


def _read_one(lenient: bool, file: RawFile) -> list[Header] | Reject:
    try:
        return read_headers(file.path, lenient)
    except Refused as refused:
        return Reject(file.id, refused.rule, refused.reason)
    except OSError as error:
        return Reject(file.id, "unreadable", error.strerror or type(error).__name__)


def _write_order(files: RawFiles, pieces: Sequence[Path], work: Path) -> None:
    ordered, rejects = _order(files, pieces)
    _write_names(work / "names.csv", files, ordered)
    columns = {name: pa.array([getattr(reject, name) for reject in rejects], pa.string()) for name in Reject._fields}
    _write(pa.table(columns), work / REFUSED)
    part = work / f"{ORDER}.part"
    with pa.ipc.new_file(str(part), ordered.schema) as file:
        file.write_table(ordered)
    part.replace(work / ORDER)  # last: it says that all are whole


def _order(files: RawFiles, pieces: Sequence[Path]) -> tuple[pa.Table, list[Reject]]:
    """The pieces as one table in the order of the corpus, and the refused files."""
    found = pa.concat_tables(pq.read_table(path, schema=PIECE) for path in pieces)
    refused = found.filter(pc.not_equal(found["rule"], ""))
    rejects = [
        Reject(file.id, row["rule"], row["reason"])
        for file, row in zip(chosen(files, refused["file"]), refused.to_pylist(), strict=True)
    ]
    found = found.filter(pc.equal(found["rule"], "")).drop_columns(["rule", "reason"]).unify_dictionaries()
    placed = order(found)
    repeated = pc.unique(found["file"].take(pa.array(placed.duplicates)))
    reason = "its SOPInstanceUID was already read from another file"
    rejects += [Reject(file.id, "duplicate", reason) for file in chosen(files, repeated)]
    ordered = found.take(pa.array(placed.rows)).append_column("linked", placed.linked)
    for name, column in (("patient", placed.patient), ("series", placed.series)):
        ordered = ordered.set_column(ordered.column_names.index(name), name, column)
    return ordered.select(ORDERED), rejects


def _write_names(path: Path, files: RawFiles, ordered: pa.Table) -> None:
    """Which file a hash stands for, and which slice was read from it (empty: none)."""
    missing = np.setdiff1d(np.arange(len(files)), ordered["file"].to_numpy())
    numbers = pa.concat_arrays([ordered["file"].combine_chunks(), pa.array(missing, pa.int32())])
    names = files.table["name"].take(numbers)
    hashes = short_hashes(names)
    slices = pa.concat_arrays([ordered["id"].combine_chunks(), pa.array([""] * len(missing), pa.string())])
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "name", "slice"))
        for start in range(0, len(names), NAMES_AT_ONCE):
            file_, name, slice_ = (column.slice(start, NAMES_AT_ONCE).to_pylist() for column in (hashes, names, slices))
            writer.writerows(zip(file_, map(decode_name, name), slice_, strict=True))
    part.replace(path)


def _write(table: pa.Table, path: Path) -> None:
    part = path.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(path)
