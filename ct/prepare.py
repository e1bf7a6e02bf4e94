"""DICOM files → image corpora: three windows at each side asked for, and the one-channel form, by one decode.

First every header is read, which settles the order of the slices; then one task a shard decodes, windows and resizes.
A shard that is done lies in the work folder with a record, so that a run that was killed redoes unfinished ones only.
"""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.images import Reject, finish_images
from corpus.manifest import Entry, listed_files, read_verified, short_hash
from corpus.shards import link, rows_per_shard, shard_path, shard_ranges, write_shard
from corpus.windows import Windows, apply_window, hu_range, quantise
from corpus.workers import Progress, Run, pool
from ct.dicom import Encoding, Header, Refused, Slice, hu_table, read_header, read_slice
from ct.series import Placed, order, places
from settings.errors import BadInput
from settings.places import require_space

SHARDS_AT_LEAST = 8  # so that a small corpus keeps several workers busy; not from their number: shards are content
HEADERS_A_TASK = 500


class RawFile(NamedTuple):
    """A file to read: hash that stands for its name, where it is, what the manifest says of it (None: no manifest)."""

    id: str
    path: Path
    entry: Entry | None


class Forms(NamedTuple):
    """What is made of each slice."""

    windows: Windows
    sides: tuple[int, ...]  # three windows, pixels
    hu_side: int  # one channel, pixels


class _Shard(NamedTuple):
    """One task: which files become which shard, and where it goes."""

    number: int
    rows: tuple[int, int]  # of the slices in order
    files: list[RawFile]
    forms: Forms
    work: Path


def find_files(root: Path, manifest: Path | None) -> list[RawFile]:
    """The files below `root` that the manifest lists or, without one, every `*.dcm`, in order of their names."""
    if manifest:
        return [RawFile(entry.id, path, entry) for path, entry in listed_files(root, manifest)]
    files = [RawFile(short_hash(p.relative_to(root).as_posix()), p, None) for p in sorted(root.rglob("*.dcm"))]
    if not files:
        raise BadInput(f"{root}: holds no .dcm file; rerun the stage that writes it")
    return files


def prepare(
    files: Sequence[RawFile],
    forms: Forms,
    hashed: bool,
    work: Path,
    images: Mapping[int, Path],
    hu: Path,
    workers: int = 1,
    shard_rows: int | None = None,
) -> dict[str, Any]:
    """Write the corpora of kind "windows" into `images[side]` and of kind "hu" into `hu` (empty folders).

    All have the same rows in the same order (patient, series, position along the slice normal) and the same index:
    id, patient, series, position (float32, mm), place (float32, 0 … 1). `hashed`: see `ct.series.order`. `work` must be
    of these files and forms alone; what it holds of an earlier run is used. Returns what happened: counts of files,
    slices, patients, series, repaired slices, rejects by rule. Raises BadInput when no slice is left.
    """
    work.mkdir(parents=True, exist_ok=True)
    low, high = hu_range(forms.windows)
    row_bytes = max(3 * max(forms.sides) ** 2, forms.hu_side**2)
    all_bytes = sum(3 * side**2 for side in forms.sides) + forms.hu_side**2
    with pool(workers, preload=["torch", "pydicom"], start=_one_thread) as run:
        ordered, rejects = _order(files, hashed, work, run)
        size = shard_rows or rows_per_shard(row_bytes, len(ordered), SHARDS_AT_LEAST)
        shards = [
            _Shard(number, (start, stop), [files[slice_.file] for slice_ in ordered[start:stop]], forms, work)
            for number, (start, stop) in enumerate(shard_ranges(len(ordered), size))
        ]
        waiting = [shard for shard in shards if not _record_path(shard).exists()]
        require_space(work, all_bytes * sum(len(shard.files) for shard in waiting))
        progress = Progress("prepare-ct", "slices", sum(len(shard.files) for shard in waiting))
        for done in run(_make_shard, waiting):
            progress.add(done)
    kept: list[Placed] = []
    whole = []
    repaired = 0
    for shard in shards:
        record = json.loads(_record_path(shard).read_text())
        kept += [ordered[row] for row in record["rows"]]
        rejects += [Reject(*reject) for reject in record["rejects"]]
        repaired += record["repaired"]
        if record["rows"]:
            whole.append(shard.number)
    by_rule = dict(sorted(Counter(reject.rule for reject in rejects).items()))
    if not kept:
        raise BadInput(f"none of {len(files)} files gave a slice ({_words(by_rule)}); check what the raw root holds")
    index = pa.table(
        {
            "id": pa.array([slice_.id for slice_ in kept], pa.string()),
            "patient": pa.array([slice_.patient for slice_ in kept], pa.string()),
            "series": pa.array([slice_.series for slice_ in kept], pa.string()),
            "position": pa.array([slice_.position for slice_ in kept], pa.float32()),
            "place": pa.array(places([slice_.series for slice_ in kept]), pa.float32()),
        }
    )
    counts = {
        "patients": len({slice_.patient for slice_ in kept}),
        "series": len({slice_.series for slice_ in kept}),
        "repaired": repaired,
        "rejected_by": by_rule,
    }
    captions = [f"{slice_.patient} {slice_.position:.0f}" for slice_ in kept]
    windows = [list(window) for window in forms.windows]
    for kind, side, folder in [*(("windows", side, images[side]) for side in forms.sides), ("hu", forms.hu_side, hu)]:
        for number, old in enumerate(whole):
            link(shard_path(_form_folder(work, kind, side), old), shard_path(folder, number))
        content = {"windows": windows, **({"hu_range": [low, high]} if kind == "hu" else {}), **counts}
        finish_images(folder, kind, index, rejects, captions, **content)
    return {"files": len(files), "slices": len(kept), **counts}


def convert(slice_: Slice, forms: Forms) -> dict[int, npt.NDArray[np.uint8]]:
    """A slice at each side (the HU side too): side × side × 4, uint8: the three windows, then HU over their range.

    Windowed by table first, resized after: a resize of Hounsfield units would let bone bleed into the brain window. The
    filter is always torch's antialiased bilinear (a triangle as wide as the reduction), in 8-bit arithmetic.
    """
    import torch
    from torch.nn.functional import interpolate

    # `clip` is the fastest mode; a 16-bit pattern is never outside of the table.
    packed = _table(slice_.encoding, forms.windows).take(slice_.stored, mode="clip")
    side = packed.shape[0]
    # The memory is channels-last, which is what torch's 8-bit path is fast at.
    whole = torch.from_numpy(packed.view(np.uint8).reshape(1, side, side, 4)).permute(0, 3, 1, 2)
    return {
        wanted: interpolate(whole, (wanted, wanted), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
        for wanted in {*forms.sides, forms.hu_side}
    }


@lru_cache(maxsize=64)
def _table(encoding: Encoding, windows: Windows) -> npt.NDArray[np.uint32]:
    """Stored pattern → four uint8 in one word: one look-up a pixel in place of four."""
    hu = hu_table(encoding).astype(np.float64)
    channels = [(apply_window(hu, window) * 255 + 0.5).astype(np.uint8) for window in windows]
    channels.append(quantise(hu, *hu_range(windows)))
    return np.ascontiguousarray(np.stack(channels, axis=1)).view(np.uint32)[:, 0]


def _order(files: Sequence[RawFile], hashed: bool, work: Path, run: Run) -> tuple[list[Placed], list[Reject]]:
    """The slices in order and the files refused by their headers; kept in `work/order.csv` and `work/refused.csv`."""
    order_csv, refused_csv = work / "order.csv", work / "refused.csv"
    if not order_csv.exists():
        headers: list[Header | None] = [None] * len(files)
        rejects = []
        progress = Progress("prepare-ct", "headers", len(files))
        tasks = [(start, files[start : start + HEADERS_A_TASK]) for start in range(0, len(files), HEADERS_A_TASK)]
        for start, found in run(_read_headers, tasks):
            for file, header in enumerate(found, start):
                if isinstance(header, Reject):
                    rejects.append(header)
                else:
                    headers[file] = header
            progress.add(len(found))
        ordered, duplicates = order(headers, hashed)
        rejects += [
            Reject(files[file].id, "duplicate", "its SOPInstanceUID was already read from another file")
            for file in duplicates
        ]
        _write_csv(refused_csv, rejects)
        _write_csv(order_csv, ordered)  # last: it says that both are whole
    with order_csv.open(newline="", encoding="utf-8") as lines:
        kept = [Placed(int(row[0]), row[1], row[2], row[3], float(row[4])) for row in csv.reader(lines)]
    with refused_csv.open(newline="", encoding="utf-8") as lines:
        return kept, [Reject(*row) for row in csv.reader(lines)]


def _read_headers(task: tuple[int, Sequence[RawFile]]) -> tuple[int, list[Header | Reject]]:
    start, files = task
    found: list[Header | Reject] = []
    for file in files:
        try:
            found.append(read_header(file.path))
        except Refused as refused:
            found.append(Reject(file.id, refused.rule, refused.reason))
        except OSError as error:
            found.append(Reject(file.id, "unreadable", error.strerror or type(error).__name__))
    return start, found


def _make_shard(shard: _Shard) -> int:
    """Decode and write one shard in every form; returns how many files it took."""
    start, stop = shard.rows
    pixels = {
        (kind, side): np.empty((stop - start, side, side, channels), np.uint8)
        for kind, side, channels in [
            *(("windows", side, 3) for side in shard.forms.sides),
            ("hu", shard.forms.hu_side, 1),
        ]
    }
    rows: list[int] = []
    rejects: list[Reject] = []
    repaired = 0
    for row, file in enumerate(shard.files, start):
        try:
            slice_ = read_slice(read_verified(file.path, file.entry))
        except Refused as refused:
            rejects.append(Reject(file.id, refused.rule, refused.reason))
            continue
        except OSError as error:
            rejects.append(Reject(file.id, "unreadable", error.strerror or type(error).__name__))
            continue
        converted = convert(slice_, shard.forms)
        for (kind, side), array in pixels.items():
            array[len(rows)] = converted[side][..., :3] if kind == "windows" else converted[side][..., 3:]
        rows.append(row)
        repaired += slice_.encoding.wrapped
    for (kind, side), array in pixels.items():
        if rows:
            folder = _form_folder(shard.work, kind, side)
            folder.mkdir(exist_ok=True)
            write_shard(folder, shard.number, array[: len(rows)])
    record = _record_path(shard)
    part = record.with_suffix(".part")
    part.write_text(json.dumps({"rows": rows, "rejects": rejects, "repaired": repaired}))
    part.replace(record)  # last: it says that every form of the shard is whole
    return len(shard.files)


def _form_folder(work: Path, kind: str, side: int) -> Path:
    return work / f"{kind}-{side}"


def _record_path(shard: _Shard) -> Path:
    return shard.work / f"shard-{shard.number:05d}.json"


def _write_csv(path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    part.replace(path)


def _words(by_rule: Mapping[str, int]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in by_rule.items()) or "no rejects"


def _one_thread() -> None:
    """A worker has one core: torch's resizing must not start a thread for each of the machine's."""
    import torch

    torch.set_num_threads(1)
