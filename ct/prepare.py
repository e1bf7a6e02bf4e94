"""DICOM files → image corpora: three windows at each side asked for, and the one-channel form, by one decode.

First every header is read (`ct.scan`), which settles the order of the slices; then one task a shard decodes, windows
and resizes. A shard that is done lies in the work folder with a record, so that a run that was killed redoes
unfinished ones only, and several processes or machines share the shards out by no other means than that folder.
"""

import csv
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.images import Reject, finish_images, shown_rows
from corpus.shards import SHARD_BYTES, link, rows_per_shard, shard_path, shard_ranges, write_shard
from corpus.sharing import Share, wait_for_files
from corpus.windows import hu_range
from corpus.workers import Progress, alone, fitting, pool
from ct.convert import FILTER, Forms, convert, copy_channels
from ct.dicom import UNSIGNED_0, Refused
from ct.raw_files import RawFiles
from ct.read import Frame, frames_of, read_frames
from ct.scan import read_scan, scan
from ct.series import SeriesFinding, inspect_series, places
from settings.errors import BadInput, BadParameter
from settings.places import require_space

WORK_VERSION = 3  # of what lies in the work folder: a run takes up no other
SHARDS_AT_LEAST = 8  # so that a small corpus keeps several workers busy; not from their number: shards are content
WORKER_BYTES = 400 * 2**20  # of a worker besides its shard: the libraries, files read ahead
TILTED = 1.0  # degrees; what is less is how heads lie, not the gantry
SERIES_COLUMNS = ("series", "slices", "spacing_mm", "tilt_deg", "duplicate_positions", "missing", "orientations")


class _Shard(NamedTuple):
    """One task: which frames become which shard, and where it goes."""

    number: int
    start: int  # row of the first slice, in order
    frames: list[Frame]
    forms: Forms
    rows: int  # of every shard but the last
    work: Path


def prepare(
    files: RawFiles,
    forms: Forms,
    hashed: bool,
    rejects_at_most: float,
    work: Path,
    images: Mapping[int, Path],
    hu: Path,
    workers: int = 1,
    shard_rows: int | None = None,
    share: Share = Share(),  # noqa: B008 (a tuple)
) -> dict[str, Any] | None:
    """Write the corpora of kind "windows" into `images[side]` and of kind "hu" into `hu` (empty folders).

    All have the same rows in the same order (patient, series, position along the slice normal) and the same index:
    id, patient, series, position (float32, mm), place (float32, 0 … 1), pixels (`ct.convert.content_hash`), linked
    (`ct.series.Order`); and the same series.csv: geometry of each series by the slices that are left. `hashed`: see
    `ct.scan.scan`. `work` must be of these files and forms alone; what it holds of an earlier run is used.

    Returns what happened: counts of files, slices, patients, series, header kinds, warnings, odd series, repaired
    slices, rejects by rule. Under a `share`, which must be of one `work`, rank 0 writes and returns this once the
    others made their shards; they return None. Raises BadInput when no slice is left, or more than the share
    `rejects_at_most` of the files gave none or not all of theirs; `work` is kept.
    """
    work.mkdir(parents=True, exist_ok=True)
    _check_work(work / "made-of.json", files, forms, hashed, share)
    corpora = forms.corpora()
    row_bytes = [side**2 * channels for _, side, channels in corpora]
    most = min(SHARD_BYTES // max(row_bytes), -(-len(files) // SHARDS_AT_LEAST))
    workers = fitting(workers, WORKER_BYTES + most * sum(row_bytes))
    with pool(workers, preload=["torch", "pydicom"], start=_one_thread) as run:
        ordered, rejects = scan(files, hashed, work, run, share, workers=workers)
        _check_rejects(rejects, len(files), rejects_at_most, work)
        size = shard_rows or rows_per_shard(max(row_bytes), ordered.num_rows, SHARDS_AT_LEAST)
        ranges = shard_ranges(ordered.num_rows, size)
        records = [work / f"shard-{number:05d}.json" for number in range(len(ranges))]
        waiting = [number for number in share.mine(range(len(ranges))) if not records[number].exists()]
        slices = sum(ranges[number][1] - ranges[number][0] for number in waiting)
        require_space(work, slices * sum(row_bytes))
        progress = Progress("prepare-ct", "slices", slices)
        for done in run(_make_shard, _tasks(files, ordered, forms, waiting, size, work)):
            progress.add(done)
    if share.rank:
        return None
    wait_for_files(records, share, "prepare-ct: shards")
    return alone(workers, _finish, len(files), forms, rejects_at_most, work, records, images, hu)


def _finish(
    files: int,
    forms: Forms,
    rejects_at_most: float,
    work: Path,
    records: Sequence[Path],
    images: Mapping[int, Path],
    hu: Path,
) -> dict[str, Any]:
    """The corpora of shards that are all made; `records` of these. Returns the counts of `prepare`."""
    ordered, rejects = read_scan(work)
    rows, pixels, whole = [], [], []
    repaired: list[int] = []
    for number, path in enumerate(records):
        record = json.loads(path.read_text())
        rows.append(np.array(record["rows"], np.int64))
        pixels.append(pa.array(record["pixels"], pa.string()))
        rejects += [Reject(*reject) for reject in record["rejects"]]
        repaired += record["repaired"]
        if record["rows"]:
            whole.append(number)
    rejects = sorted(set(rejects))  # frames of one file are refused for one reason
    _check_rejects(rejects, files, rejects_at_most, work)
    taken = np.concatenate(rows) if rows else np.empty(0, np.int64)
    kept = ordered.take(pa.array(taken)) if len(taken) < ordered.num_rows else ordered
    if not kept.num_rows:
        raise BadInput(f"none of {files} files gave a slice ({_words(rejects)}); check what the raw root holds")
    odd = inspect_series(kept)
    counts = {
        "files": files,
        **_counts(kept, ordered["warnings"].take(pa.array(repaired, pa.int64()))),
        "odd_series": _odd(odd),
        "repaired": len(repaired),
        "rejected_by": _by_rule(rejects),
    }
    index = pa.table(
        {
            **{name: kept[name].cast(pa.string()) for name in ("id", "patient", "series")},
            "position": kept["position"].cast(pa.float32()),
            "place": pa.array(places(kept["series"])),
            "pixels": pa.chunked_array(pixels),
            "linked": kept["linked"].cast(pa.string()),
        }
    )
    shown = shown_rows(kept.num_rows)
    rows_shown = zip(shown, kept.take(shown).to_pylist(), strict=True)
    captions = {number: f"{row['patient']} {row['position']:.0f}" for number, row in rows_shown}
    content = {"windows": [list(window) for window in forms.windows], "resize": FILTER, **counts}
    for kind, side, _ in forms.corpora():
        folder = hu if kind == "hu" else images[side]
        for new, old in enumerate(whole):
            link(shard_path(_form_folder(work, kind, side), old), shard_path(folder, new))
        _write_series(folder / "series.csv", odd)
        extra = {"hu_range": list(hu_range(forms.windows))} if kind == "hu" else {}
        finish_images(folder, kind, index, rejects, captions, **extra, **content)
    return {"slices": kept.num_rows, **counts}


def _tasks(
    files: RawFiles, ordered: pa.Table, forms: Forms, numbers: Sequence[int], size: int, work: Path
) -> Iterator[_Shard]:
    for number in numbers:
        frames = frames_of(files, ordered.slice(number * size, size))
        yield _Shard(number, number * size, frames, forms, size, work)


def _make_shard(shard: _Shard) -> int:
    """Decode and write one shard in every form; returns how many slices it was to take."""
    pixels = _buffers(shard.rows, shard.forms)
    rows: list[int] = []
    hashes: list[str] = []
    rejects: list[Reject] = []
    repaired: list[int] = []
    again = f"delete {shard.work} and run the stage again"
    for row, (frame, slice_) in enumerate(zip(shard.frames, read_frames(shard.frames, again), strict=True)):
        try:
            if isinstance(slice_, Refused):
                raise slice_
            converted = convert(slice_, shard.forms)
        except Refused as refused:
            rejects.append(Reject(frame.file.id, refused.rule, refused.reason))
            continue
        for (kind, side), array in pixels.items():
            copy_channels(kind, converted.images[side], array[len(rows)])
        rows.append(shard.start + row)
        hashes.append(converted.pixels)
        if slice_.encoding.wrapped:
            repaired.append(shard.start + row)
    for (kind, side), array in pixels.items():
        if rows:
            folder = _form_folder(shard.work, kind, side)
            folder.mkdir(exist_ok=True)
            write_shard(folder, shard.number, array[: len(rows)])
    record = shard.work / f"shard-{shard.number:05d}.json"
    part = record.with_suffix(".part")
    part.write_text(json.dumps({"rows": rows, "pixels": hashes, "rejects": rejects, "repaired": repaired}))
    part.replace(record)  # last: it says that every form of the shard is whole
    return len(shard.frames)


@lru_cache(maxsize=1)
def _buffers(rows: int, forms: Forms) -> dict[tuple[str, int], npt.NDArray[np.uint8]]:
    """Room for a shard in every form; the process keeps it for the next one."""
    return {(kind, side): np.empty((rows, side, side, channels), np.uint8) for kind, side, channels in forms.corpora()}


def _counts(kept: pa.Table, repaired: pa.ChunkedArray) -> dict[str, Any]:
    """Patients, series, and slices by header kind and by warning; `repaired`: warnings of the slices that were.

    Their intercept near 0 is what was mended: the header pass, which sees no pixels, could not know it.
    """
    warnings: Counter[str] = Counter()
    for words, count in _value_counts(kept["warnings"]).items():
        warnings.update(dict.fromkeys(words.split(), count))
    for words, count in _value_counts(repaired).items():
        warnings[UNSIGNED_0] -= count * (UNSIGNED_0 in words.split())
    return {
        "patients": len(kept["patient"].unique()),
        "series": len(kept["series"].unique()),
        "header_kinds": _value_counts(kept["kind"]),
        "warnings": dict(sorted((+warnings).items())),
    }


def _value_counts(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted((row["values"], row["counts"]) for row in column.value_counts().to_pylist()))


def _odd(findings: Sequence[SeriesFinding]) -> dict[str, int]:
    return {
        "tilted": sum(finding.tilt > TILTED for finding in findings),
        "duplicate_positions": sum(finding.duplicates > 0 for finding in findings),
        "missing_slices": sum(finding.missing > 0 for finding in findings),
        "several_orientations": sum(finding.orientations > 1 for finding in findings),
    }


def _write_series(path: Path, findings: Sequence[SeriesFinding]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SERIES_COLUMNS)
        for found in findings:
            spacing = "" if math.isnan(found.spacing) else f"{found.spacing:.3f}"
            writer.writerow((found.series, found.slices, spacing, f"{found.tilt:.1f}", *found[4:]))


def _check_work(path: Path, files: RawFiles, forms: Forms, hashed: bool, share: Share) -> None:
    """Note what the work folder's shards are made of; BadParameter if it is something else (after `--adopt`)."""
    digest = hashlib.sha256()
    for batch in files.table.select(["name", "sha256"]).to_batches(max_chunksize=2**10):
        for column in batch.columns:
            digest.update("\n".join(map(str, column.to_pylist())).encode())
    made_of = json.dumps(
        {"files": digest.hexdigest(), "forms": forms, "hashed": hashed, "filter": FILTER, "version": WORK_VERSION}
    )
    if path.exists() and path.read_text() != made_of:
        raise BadParameter(
            f"{path}: the work there is of other files, windows, sides or ids; "
            "run the stage without --adopt, or with a fingerprint of the same ones"
        )
    part = path.with_suffix(f".{share.rank}.part")
    part.write_text(made_of)
    part.replace(path)


def _check_rejects(rejects: Sequence[Reject], files: int, at_most: float, work: Path) -> None:
    refused = len({reject.id for reject in rejects})
    if refused > at_most * files and refused < files:
        raise BadInput(
            f"{refused:,} of {files:,} files were refused ({_words(rejects)}), more than prepare_ct.rejects_at_most "
            f"= {at_most:g}; look at them, then raise it and run `pipeline.py stage prepare-ct --adopt {work.name}`"
        )


def _by_rule(rejects: Sequence[Reject]) -> dict[str, int]:
    return dict(sorted(Counter(reject.rule for reject in rejects).items()))


def _words(rejects: Sequence[Reject]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in _by_rule(rejects).items()) or "no rejects"


def _form_folder(work: Path, kind: str, side: int) -> Path:
    return work / f"{kind}-{side}"


def _one_thread() -> None:
    """A worker has one core: torch's resizing must not start a thread for each of the machine's."""
    import torch

    torch.set_num_threads(1)
