"""Photos → an image corpus of kind "photos", from either source by the same path: one task a shard, many processes.

A shard that is done lies in the work folder with a record, so that a run that was killed redoes unfinished ones only.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.images import Reject, finish_images
from corpus.manifest import short_hash
from corpus.shards import link, rows_per_shard, shard_path, shard_ranges, write_shard
from corpus.workers import Progress, pool
from photos import drawn
from photos.folder import Found, Unusable, open_folder, read_found, stem_hash
from photos.objects import KINDS
from photos.parameters import Drawn, Splits
from settings.errors import BadInput
from settings.places import require_space

SHARDS_AT_LEAST = 8  # so that a small corpus keeps several workers busy; not from their number: shards are content


class Source(NamedTuple):
    """One photo to come: its row of the index, and what it is made from (a file, or seed and number of a drawing)."""

    id: str
    part: str  # "train" or "val"
    label: int
    wnid: str
    name: str
    file: Found | None
    drawing: tuple[int, int]  # seed, number; used where there is no file


class _Shard(NamedTuple):
    """One task: which photos become which shard, and where it goes."""

    number: int
    sources: list[Source]
    side: int
    work: Path


def drawn_sources(parameters: Drawn) -> list[Source]:
    """The embedded photos in order of part, class, number; ids as if `drawn.write_folder` had written them."""
    sources = []
    for part in ("train", "val"):
        for label in range(parameters.classes):
            for number in range(parameters.per_class):
                if drawn.part(parameters, number) == part:
                    wnid, name = drawn.wnid(label), drawn.name(label, number)
                    id_ = short_hash(f"{part}/{wnid}/{name}.png")
                    sources.append(Source(id_, part, label, wnid, name, None, (parameters.seed, number)))
    return sources


def prepare_drawn(parameters: Drawn, side: int, work: Path, out: Path, workers: int = 1) -> dict[str, Any]:
    """Draw the embedded photos into `out` (an empty folder); see `prepare_folder` for the rest."""
    names = [KINDS[label][0] for label in range(parameters.classes)]
    classes = [drawn.wnid(label) for label in range(parameters.classes)]
    content = {"source": "drawn", "classes": classes, "class_names": names}
    return _prepare(drawn_sources(parameters), [], content, side, work, out, workers)


def prepare_folder(
    root: Path, manifest: Path, splits: Splits, side: int, work: Path, out: Path, workers: int = 1
) -> dict[str, Any]:
    """Write the photos of an ImageFolder as a corpus into `out` (an empty folder).

    Index: id (hash of the path below the raw root), part ("train", "val"), label (int32), wnid, name (hash of the
    stem); in order of part, class, name. Card: source, classes (wnids in index order), class_names and, where
    synset_words.txt lists ImageNet's 1000 classes, imagenet_index. `work` must be of these inputs and parameters alone;
    what an earlier run left there is used. Returns counts: photos, train, val, classes, rejected_by. Raises BadInput
    when a part is left without a photo.
    """
    folder = open_folder(root, manifest, splits)
    sources = [Source(f.entry.id, f.part, f.label, f.wnid, stem_hash(f), f, (0, 0)) for f in folder.photos]
    content: dict[str, Any] = {"source": "folder", "classes": folder.classes, "class_names": folder.class_names}
    if folder.imagenet_index:
        content["imagenet_index"] = folder.imagenet_index
    return _prepare(sources, folder.rejects, content, side, work, out, workers)


def _prepare(
    sources: Sequence[Source],
    rejects: Sequence[Reject],
    content: dict[str, Any],
    side: int,
    work: Path,
    out: Path,
    workers: int,
) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    size = rows_per_shard(3 * side**2, len(sources), SHARDS_AT_LEAST)
    shards = [_Shard(i, list(sources[a:b]), side, work) for i, (a, b) in enumerate(shard_ranges(len(sources), size))]
    waiting = [shard for shard in shards if not _record_path(shard).exists()]
    require_space(work, 3 * side**2 * sum(len(shard.sources) for shard in waiting))
    progress = Progress("prepare-photos", "photos", sum(len(shard.sources) for shard in waiting))
    with pool(min(workers, len(waiting)) or 1, preload=["photos.prepare"]) as run:
        for count in run(_make_shard, waiting):
            progress.add(count)

    kept: list[Source] = []
    rejects = list(rejects)
    whole = 0
    for shard in shards:
        record = json.loads(_record_path(shard).read_text())
        kept += [shard.sources[row] for row in record["rows"]]
        rejects += [Reject(*reject) for reject in record["rejects"]]
        if record["rows"]:
            link(shard_path(work, shard.number), shard_path(out, whole))
            whole += 1
    parts = Counter(source.part for source in kept)
    by_rule = dict(sorted(Counter(reject.rule for reject in rejects).items()))
    if not (parts["train"] and parts["val"]):
        raise BadInput(
            f"of {len(sources)} photos {parts['train']} are left to train on and {parts['val']} held out, "
            f"{len(rejects)} were rejected ({by_rule}); check what the raw root holds"
        )
    index = pa.table(
        {
            "id": pa.array([s.id for s in kept], pa.string()),
            "part": pa.array([s.part for s in kept], pa.string()),
            "label": pa.array([s.label for s in kept], pa.int32()),
            "wnid": pa.array([s.wnid for s in kept], pa.string()),
            "name": pa.array([s.name for s in kept], pa.string()),
        }
    )
    counts = {"train": parts["train"], "val": parts["val"], "rejected_by": by_rule}
    captions = [f"{s.part} {content['class_names'][s.label]}" for s in kept]
    finish_images(out, "photos", index, rejects, captions, **content, **counts)
    return {"photos": len(kept), "classes": len(content["classes"]), **counts}


def _make_shard(shard: _Shard) -> int:
    """Read or draw one shard and write it; returns how many photos it took."""
    pixels: npt.NDArray[np.uint8] = np.empty((len(shard.sources), shard.side, shard.side, 3), np.uint8)
    rows: list[int] = []
    rejects: list[Reject] = []
    for row, source in enumerate(shard.sources):
        try:
            if source.file:
                pixels[len(rows)] = read_found(source.file, shard.side)
            else:
                seed, number = source.drawing
                pixels[len(rows)] = drawn.draw_photo(seed, source.label, number, shard.side)
        except Unusable as unusable:
            rejects.append(Reject(source.id, unusable.rule, unusable.reason))
            continue
        rows.append(row)
    if rows:
        write_shard(shard.work, shard.number, pixels[: len(rows)])
    record = _record_path(shard)
    part = record.with_suffix(".part")
    part.write_text(json.dumps({"rows": rows, "rejects": rejects}))
    part.replace(record)  # last: it says that the shard is whole
    return len(shard.sources)


def _record_path(shard: _Shard) -> Path:
    return shard.work / f"shard-{shard.number:05d}.json"
