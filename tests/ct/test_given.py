import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.sharing import Share
from ct.dicom import Refused
from ct.given import Series, flags_of, given_files, parts_of, series_of
from ct.scan import scan
from settings.errors import BadInput
from tests.ct.files import flat, write_dicom

CORONAL = ["1", "0", "0", "0", "0", "-1"]
TILTED = ["1", "0", "0", "0", "0.939693", "0.342020"]


def write(folder: Path, positions: list[float], name: str = "s", **tags: Any) -> None:
    for number, z in enumerate(positions):
        write_dicom(
            folder / f"{name}-{number}",
            flat(1000),
            SeriesInstanceUID=name,
            ImagePositionPatient=["0", "0", str(z)],
            **tags,
        )


def read(folder: Path, work: Path) -> tuple[list[Series], list[tuple[str, str]]]:
    """The series, and (file name, rule) of what is refused."""
    work.mkdir()
    files, names, _ = given_files([folder])
    ordered, rejects = scan(files, True, work, map, Share(), "predict", lenient=True)
    assert not rejects
    refused: list[tuple[str, str]] = []

    def refuse(id_: str, why: Refused, frame: int | None) -> None:
        refused.append((Path(names[id_]).name + (f"#{frame}" if frame else ""), why.rule))

    return list(series_of(files, ordered, refuse)), sorted(refused)


def test_files_keep_the_paths_they_were_given_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "scan/deep", [0.0, 5.0])
    write(tmp_path / "scan/.hidden", [0.0])
    monkeypatch.chdir(tmp_path)
    files, names, left = given_files([Path("scan"), Path("scan/deep/s-1"), Path("../") / tmp_path.name / "scan/deep"])
    assert sorted(names.values()) == ["scan/deep/s-0", "scan/deep/s-1"] and len(files) == 2 and not left
    assert [(files.root / os.fsdecode(name)).read_bytes()[128:132] for name in files.table["name"].to_pylist()] == [
        b"DICM"
    ] * 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty: no file there"):
        given_files([tmp_path / "empty"])


def test_what_is_no_file_or_cannot_be_listed_is_told_and_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes into would be waited for without end."""
    write(tmp_path / "scan/a", [0.0])
    write(tmp_path / "scan/closed", [5.0])
    write(tmp_path / "elsewhere", [10.0])
    (tmp_path / "scan/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "scan/file").symlink_to(tmp_path / "elsewhere/s-0")
    (tmp_path / "scan/loop").symlink_to("loop")
    (tmp_path / "scan/.hidden").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    os.mkfifo(tmp_path / "scan/a/pipe")
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.chdir(tmp_path)
    files, names, left = given_files([Path("scan"), Path("/dev/null")])
    assert sorted(names.values()) == ["scan/a/s-0", "scan/file"] and len(files) == 2
    assert {path: why.rule for path, why in left.items()} == {
        "scan/closed": "unreadable", "scan/link": "linked-folder", "scan/loop": "unreadable", "scan/a/pipe": "no-file",
        "/dev/null": "no-file",
    }  # fmt: skip
    assert str(left["scan/closed"]) == "unreadable: Permission denied"
    with pytest.raises(BadInput, match="scan/closed: unreadable: Permission denied; scan/closed: no file there"):
        given_files([Path("scan/closed")])


def test_slices_across_their_series_and_series_that_are_not_axial_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "in", [10.0, 0.0, 5.0], "axial")
    write_dicom(tmp_path / "in/across", flat(0), SeriesInstanceUID="axial", ImageOrientationPatient=CORONAL)
    write(tmp_path / "in", [0.0, 5.0], "coronal", ImageOrientationPatient=CORONAL)
    write(tmp_path / "in", [0.0, 5.0], "tilted", ImageOrientationPatient=TILTED)
    found, refused = read(tmp_path / "in", tmp_path / "work")
    assert refused == [("across", "orientation"), ("coronal-0", "not-axial"), ("coronal-1", "not-axial")]
    by_size = sorted(found, key=lambda series: -len(series.frames))
    assert [len(series.frames) for series in by_size] == [3, 2]
    assert by_size[0].positions.tolist() == [0.0, 5.0, 10.0]
    assert [frame.file.path.name for frame in by_size[0].frames] == ["axial-1", "axial-2", "axial-0"]


def test_the_first_slice_of_a_thin_stack_may_be_the_odd_one(tmp_path: Path) -> None:
    write(tmp_path / "in", [1.0, 2.0, 3.0, 4.0])
    write_dicom(
        tmp_path / "in/first", np.zeros((70, 70), np.uint16), SeriesInstanceUID="s", ImagePositionPatient=["0"] * 3
    )
    ((series,), _) = read(tmp_path / "in", tmp_path / "work")
    refused: list[tuple[str, str]] = []
    parts = list(parts_of(series, lambda row, why: refused.append((series.frames[row].file.path.name, why.rule)), True))
    assert refused == [("first", "other-size")] and [sorted(part.rows) for part in parts] == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("positions", "lost", "flags"),
    [
        ([0.0, 5.1, 10.2], 0, []),
        ([0.0, 5.0, 10.0, 20.0, 25.0], 1, ["4 of 6 slices"]),
        ([0.0, 5.0, 5.0, 10.0], 0, ["1 slices repeat a position"]),
        ([0.0, 1.0, 2.0], 0, ["averaged from 1.00 to 5.1 mm"]),
        ([0.0, 10.0, 20.0], 0, ["outside the training range: 10.0 mm between slices, learnt from 5.0-5.7"]),
        (
            [0.0, 2.5, 5.0, 7.5, *range(12, 52, 5)],
            0,
            ["outside the training range: steps from 2.5 mm, learnt from 5.0-5.7"],
        ),
        ([3.0], 0, ["spacing unknown: a lone slice"]),
        ([3.0] * 5, 0, ["spacing unknown: all slices at one position", "4 slices repeat a position"]),
    ],
)
def test_what_is_odd_about_a_series_is_flagged(
    tmp_path: Path, positions: list[float], lost: int, flags: list[str]
) -> None:
    write(tmp_path / "in", positions)
    ((series,), _) = read(tmp_path / "in", tmp_path / "work")
    assert flags_of(series, len(positions) - lost) == flags


@pytest.mark.parametrize(
    ("thickness", "flag"),
    [
        ("5", "outside the training range: 5.0 mm slices overlap, 2.5 mm apart, learnt from 5.0-5.7"),
        ("2.5", "averaged from 2.50 to 5.1 mm"),
        (None, "averaged from 2.50 to 5.1 mm"),
        ("0", "averaged from 2.50 to 5.1 mm"),
    ],
)
def test_thick_slices_that_overlap_are_not_averaged(tmp_path: Path, thickness: str | None, flag: str) -> None:
    write(tmp_path / "in", [0.0, 2.5, 5.0, 7.5], SliceThickness=thickness)
    ((series,), _) = read(tmp_path / "in", tmp_path / "work")
    assert flags_of(series, 4) == [flag]
    parts = list(parts_of(series, lambda *_: pytest.fail("nothing is refused"), True))
    assert len(parts) == (4 if thickness == "5" else 2)


def test_a_thickness_that_is_no_number_is_none(tmp_path: Path) -> None:
    """Two bytes patched: pydicom would not write it."""
    path = write_dicom(tmp_path / "in/a", flat(1000), SliceThickness="12.5")
    path.write_bytes(path.read_bytes().replace(b"12.5", b"12mm"))
    ((series,), _) = read(tmp_path / "in", tmp_path / "work")
    assert series.extents[0].thickness is None
