import csv
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import corpus.sharing
import ct.scan
from corpus.manifest import short_hash, write_manifest
from corpus.sharing import Share
from ct.raw_files import find_files
from ct.read import frames_of, read_frames
from ct.scan import scan
from tests.ct.files import flat, write_dicom


def test_a_rank_is_patient_while_another_reads_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three pieces of 0.6 s each: longer together than anyone is patient without a new file."""
    monkeypatch.setattr(corpus.sharing.wait_for_files, "__defaults__", (1.5,))
    monkeypatch.setattr(ct.scan, "FILES_A_PIECE", 2)
    for number in range(10):
        write_dicom(tmp_path / f"raw/{number}.dcm", flat(0), SOPInstanceUID=str(number))

    def slow(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        for task in tasks:
            time.sleep(0.6)
            yield function(task)

    files = find_files(tmp_path / "raw", None)
    first = threading.Thread(target=scan, args=(files, True, tmp_path, slow, Share(0, 2)))
    first.start()
    ordered, rejects = scan(files, True, tmp_path, map, Share(1, 2))
    first.join()
    assert ordered.num_rows == 10 and not rejects


def test_a_name_may_be_of_another_encoding(tmp_path: Path) -> None:
    """As old archives have them: Latin-1 on a disk whose names are bytes."""
    for number, name in enumerate(("a.dcm", os.fsdecode(b"M\xfcller,Jos\xe9.dcm"), "Ö.dcm")):
        write_dicom(tmp_path / "raw" / name, flat(number), SOPInstanceUID=str(number))
    manifest = tmp_path / "ct.csv"
    write_manifest(tmp_path / "raw", manifest, tmp_path / "memory.csv")
    listed = manifest.read_bytes()
    write_manifest(tmp_path / "raw", manifest, tmp_path / "memory.csv")
    assert manifest.read_bytes() == listed
    files = find_files(tmp_path / "raw", manifest)
    ordered, rejects = scan(files, True, tmp_path, map, Share())
    slices = list(read_frames(frames_of(files, ordered), "again"))
    assert [int(slice_.stored.max()) for slice_ in slices if not isinstance(slice_, Exception)] == [0, 1, 2]
    with (tmp_path / "names.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {os.fsencode(row["name"]): row["slice"] for row in rows} == {
        b"a.dcm": short_hash("0"), b"M\xfcller,Jos\xe9.dcm": short_hash("1"), "Ö.dcm".encode(): short_hash("2"),
    }  # fmt: skip
    assert not rejects
