"""The pixels of frames whose headers were read: every file once, in order, some ahead of who takes them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from corpus.manifest import read_verified
from corpus.workers import ahead
from ct.dicom import Known, Refused, Slice, frame_of, is_unchanged, open_file, read_known
from ct.raw_files import RawFile, RawFiles, chosen
from ct.scan import known_of
from ct.tags import File
from settings.errors import BadInput


class Frame(NamedTuple):
    """One slice to be read."""

    file: RawFile
    number: int  # of the frame in its file
    known: Known


def frames_of(files: RawFiles, rows: pa.Table) -> list[Frame]:
    """The frames of rows of `ct.scan.scan`'s table."""
    known = [
        known_of(*row) for row in zip(*(rows[name].to_pylist() for name in ("head", "start", "native")), strict=True)
    ]
    return [Frame(*each) for each in zip(chosen(files, rows["file"]), rows["frame"].to_pylist(), known, strict=True)]


def read_frames(frames: Sequence[Frame], again: str) -> Iterator[Slice | Refused]:
    """The slice of each frame, or why there is none; frames of one file that follow each other read it once.

    BadInput for a file whose header is not the one that was read before; `again`: what to do then.
    """
    groups = [list(group) for _, group in groupby(frames, key=lambda frame: frame.file.path)]
    for group, content in zip(groups, ahead(_content, (group[0].file for group in groups)), strict=True):
        yield from _slices(group, content, again)


def _slices(group: Sequence[Frame], content: bytes | Refused, again: str) -> Iterator[Slice | Refused]:
    """The slices of one file; it is parsed once, or not at all where its pixels are `Native`."""
    parsed: File | None = None
    for file, number, known in group:
        try:
            if isinstance(content, Refused):
                raise content
            if not is_unchanged(content, known):
                raise BadInput(
                    f"file {file.id}: its header changed since the first look at it; look what writes there, {again}"
                )
            if known.native:
                yield read_known(content, known.start, known.native, number)
            else:
                parsed = parsed or open_file(content)
                yield frame_of(parsed, number)
        except Refused as refused:
            yield refused


def _content(file: RawFile) -> bytes | Refused:
    try:
        return read_verified(file.path, file.entry)
    except OSError as error:
        return Refused("unreadable", error.strerror or type(error).__name__)
