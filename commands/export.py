"""`pipeline.py export DIR`: a corpus of labelled photos as an ImageFolder, for other people's tools.

`DIR/<part>/<wnid>/<stem>.png`, lossless, and `DIR/export.json`, which says what it is an export of.
"""

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from corpus.images import Images
from corpus.workers import Progress, pool
from settings.errors import BadParameter
from settings.places import load_local, workers

MARK = "export.json"
CHUNK = 64  # images of a task


class Chunk(NamedTuple):
    """One task: rows of a corpus and the files that they become."""

    folder: Path
    one_channel: bool
    rows: list[int]
    paths: list[Path]


def export(folder: Path, target: Path, one_channel: bool) -> None:
    """Write a corpus as PNGs: three windows in RGB, or the one HU channel as it is; photos as they are.

    Files that an earlier run wrote are kept. BadParameter for a corpus without classes, and for a folder that holds
    anything but an export of this corpus in this form.
    """
    corpus = Images(folder)
    if one_channel and corpus.card["kind"] != "hu":
        raise BadParameter(f"--one-channel: {folder} has no HU channel ({corpus.card['kind']}); leave the option out")
    paths = [target / name for name in file_names(corpus)]
    claim(target, {**_content(corpus), "channel": "hu" if one_channel else "windows"})
    for parent in sorted({path.parent for path in paths}):
        parent.mkdir(parents=True, exist_ok=True)
    waiting = [row for row, path in enumerate(paths) if not path.exists()]
    if len(waiting) < len(paths):
        print(f"export: {len(paths) - len(waiting):,} of {len(paths):,} files are there already")
    chunks = [waiting[at : at + CHUNK] for at in range(0, len(waiting), CHUNK)]
    tasks = (Chunk(folder, one_channel, rows, [paths[row] for row in rows]) for rows in chunks)
    progress = Progress("export", "files", len(waiting))
    with pool(min(workers(load_local()), len(chunks)) or 1, preload=["commands.export"]) as run:
        for count in run(write_chunk, tasks):
            progress.add(count)
    print(f"export: {target}: {len(paths):,} images of {len(corpus.card['classes']):,} classes")


def file_names(corpus: Images) -> list[str]:
    """`part/wnid/stem.png` of each image; two of one name get their ids as well. BadParameter if it has no classes."""
    if missing := {"part", "wnid"} - set(corpus.index.column_names):
        raise BadParameter(f"{corpus.folder}: has no column '{min(missing)}'; only corpora of photos can be exported")
    stems = corpus.column("name" if "name" in corpus.index.column_names else "id")
    places = list(zip(corpus.column("part"), corpus.column("wnid"), stems, corpus.column("id"), strict=True))
    count = Counter(place[:3] for place in places)
    return [
        f"{part}/{wnid}/{stem}{f'-{id_}' if count[part, wnid, stem] > 1 else ''}.png"
        for part, wnid, stem, id_ in places
    ]


def claim(target: Path, content: dict[str, Any]) -> None:
    """Mark a new or empty folder as the place of this export; BadParameter for one that holds something else."""
    mark = target / MARK
    if mark.is_file():
        if json.loads(mark.read_text(encoding="utf-8")) != content:
            raise BadParameter(f"{target}: holds an export of another corpus or form ({MARK}); name another folder")
        return
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadParameter(f"{target}: is not empty and no export; name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    part = mark.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(mark)


def write_chunk(chunk: Chunk) -> int:
    """Write the files of one task, each beside its name and then renamed; returns their number."""
    corpus = _open(chunk.folder)
    pixels = corpus.shards.read(chunk.rows)[..., 0] if chunk.one_channel else corpus.read_windows(chunk.rows)
    for image, path in zip(pixels, chunk.paths, strict=True):
        part = path.with_suffix(".part")
        Image.fromarray(image).save(part, "PNG")
        part.replace(path)
    return len(chunk.rows)


@cache
def _open(folder: Path) -> Images:
    """One for each process."""
    return Images(folder)


def _content(corpus: Images) -> dict[str, Any]:
    """What the files hold, and a fingerprint of it from what is small: card, index and the sheet of 64 images."""
    digest = hashlib.sha256()
    for name in ("card.json", "index.parquet", "contact.png"):
        digest.update((corpus.folder / name).read_bytes())
    said = {key: corpus.card[key] for key in ("hu_range", "windows", "classes", "class_names") if key in corpus.card}
    return {"fingerprint": digest.hexdigest()[:16], **said}
