"""A corpus made of another one image by image: the same ids, order, parts and classes, other pixels.

Shards are shared out over processes and resumed by shard. A thread reads ahead and another writes behind, so that
what computes does not wait for a disk. Which shard an image is in, and with which others it is computed, follows from
the corpus alone, not from the number of processes: any number of them writes the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.contact_sheet import contact_sheet
from corpus.images import Images, finish_images
from corpus.shards import evenly, link, rows_per_shard, shard_path, shard_ranges, write_shard
from corpus.sharing import Heartbeat, Share, wait_for_files
from corpus.workers import Progress, ahead
from settings.errors import BadArtifact
from settings.places import require_space

SHARDS = 16  # at least so many where there are images for them: processes share shards out, whatever their number
PAIRS = 16  # pictures of a shard's contact sheet

Pixels = npt.NDArray[np.uint8]
Ranges = list[tuple[int, int]]  # [start, stop) of each shard


class Batch(NamedTuple):
    """Images of the source: their rows and pixels (n×H×W×C)."""

    rows: npt.NDArray[np.int64]
    pixels: Pixels


Make = Callable[[Iterator[Batch]], Iterator[Pixels]]  # batch by batch, in order; it may hold some back meanwhile


def derive(
    source: Images, shape: tuple[int, ...], make: Make, batch: int, work: Path, share: Share, who: str
) -> Ranges:
    """Write this process's shards of `source` passed through `make` to `work`; return when those of all are there.

    `shape`: of one made image (H×W×C). Beside each shard lies `contact-00000.png`, the source's images beside what
    was made of them. Shards that an earlier run left in `work` are kept; `work` must be of these inputs alone.
    """
    row = int(np.prod(shape))
    ranges = shard_ranges(len(source), rows_per_shard(row, len(source), SHARDS))
    waiting = [number for number in range(len(ranges)) if not shard_path(work, number).exists()]
    mine = [number for number in waiting if number % share.ranks == share.rank]
    if share.rank == 0:
        require_space(work, row * sum(ranges[number][1] - ranges[number][0] for number in waiting))
    heartbeats = [work / f"rank-{rank:05d}.alive" for rank in range(share.ranks)]
    heartbeat = Heartbeat(heartbeats[share.rank])
    progress = Progress(who, "images", sum(ranges[number][1] - ranges[number][0] for number in mine))
    batches = (
        np.arange(at, min(at + batch, ranges[number][1])) for number in mine for at in range(*ranges[number], batch)
    )
    made = make(ahead(lambda rows: Batch(rows, source.shards.read(rows)), batches, threads=1))
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for number in mine:
            start, stop = ranges[number]
            pixels = np.empty((stop - start, *shape), np.uint8)
            filled = 0
            while filled < len(pixels):
                part = next(made)
                pixels[filled : filled + len(part)] = part
                filled += len(part)
                progress.add(len(part))
                heartbeat.beat()
            if writing:
                writing.result()  # one shard behind, no more: memory stays bounded, an error is raised
            writing = writer.submit(_write, source, work, number, start, pixels)
        if writing:
            writing.result()
    # A slow CPU may need more than the others' patience for one shard.
    wait_for_files([shard_path(work, number) for number in range(len(ranges))], share, who, heartbeats=heartbeats)
    return ranges


def collect(source: Images, work: Path, ranges: Ranges, out: Path, kind: str, **content: Any) -> None:
    """The finished shards and their contact sheets, linked into `out`, with the source's index and classes.

    By one process. BadArtifact unless every class has as many images as in the source. `content` goes on the card.
    """
    _check_classes(source, work, ranges, out.name.strip(".").removesuffix(".part"))
    for number in range(len(ranges)):
        link(shard_path(work, number), shard_path(out, number))
        link(_sheet_path(work, number), _sheet_path(out, number))
    classes = {key: source.card[key] for key in ("classes", "class_names") if key in source.card}
    finish_images(out, kind, source.index, [], class_captions(source), **content, **classes)


def class_captions(corpus: Images) -> list[str]:
    """The class of each image in words."""
    names = [str(name) for name in corpus.card.get("class_names", corpus.card["classes"])]
    return [names[label] for label in corpus.column("label")]


def _write(source: Images, work: Path, number: int, start: int, pixels: Pixels) -> None:
    """The contact sheet first: a shard that exists has one."""
    rows = evenly(len(pixels), PAIRS)
    originals, captions = source.shards.read(start + rows), class_captions(source)
    cells = [image for original, row in zip(originals, rows, strict=True) for image in (original, pixels[row])]
    texts = [text for row in rows for text in (captions[start + row], "")]
    path = _sheet_path(work, number)
    part = path.with_suffix(".part")
    contact_sheet(cells, texts, columns=min(8, len(cells))).save(part, "PNG")
    part.replace(path)
    write_shard(work, number, pixels)


def _sheet_path(folder: Path, number: int) -> Path:
    return folder / f"contact-{number:05d}.png"


def _check_classes(source: Images, work: Path, ranges: Ranges, name: str) -> None:
    labels = source.column("label")
    there: Counter[int] = Counter()
    for number, (start, _) in enumerate(ranges):
        rows = len(np.load(shard_path(work, number), mmap_mode="r", allow_pickle=False))
        there.update(labels[start : start + rows])
    expected = Counter(labels)
    if there != expected:
        label = next(label for label in sorted(expected | there) if there[label] != expected[label])
        raise BadArtifact(
            f"{name}: class {source.card['classes'][label]} has {there[label]} images for {expected[label]} photos; "
            "delete the stage's folder under work/ and run it again"
        )
