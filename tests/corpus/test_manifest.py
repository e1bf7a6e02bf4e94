import hashlib
import os
from pathlib import Path

import pytest

from corpus.manifest import listed_files, read_verified, short_hash, write_manifest
from settings.errors import BadInput


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    root = tmp_path / "raw"
    (root / "Doe^Jane").mkdir(parents=True)
    (root / "Doe^Jane/1.dcm").write_bytes(b"one")
    (root / "2.dcm").write_bytes(b"two")
    (root / ".hidden").write_bytes(b"no")
    return root, tmp_path / "data/ct.csv", tmp_path / "work/ct.csv"


def test_the_manifest_has_no_names(places: tuple[Path, Path, Path]) -> None:
    root, manifest, memory = places
    assert write_manifest(root, manifest, memory) == 2
    assert "Doe" not in manifest.read_text() and "Doe^Jane/1.dcm" in memory.read_text()
    expected = hashlib.sha256(b"Doe^Jane/1.dcm").hexdigest()[:16]
    assert short_hash("Doe^Jane/1.dcm") == expected
    assert f"{expected},3,{hashlib.sha256(b'one').hexdigest()}" in manifest.read_text().splitlines()


def test_only_what_changed_in_size_or_time_is_hashed_again(places: tuple[Path, Path, Path]) -> None:
    root, manifest, memory = places
    write_manifest(root, manifest, memory)
    before = manifest.read_text()
    status = (root / "2.dcm").stat()
    (root / "2.dcm").write_bytes(b"TWO")
    os.utime(root / "2.dcm", ns=(status.st_atime_ns, status.st_mtime_ns))
    write_manifest(root, manifest, memory)
    assert manifest.read_text() == before  # same size and time: not looked at
    os.utime(root / "2.dcm", ns=(0, 1))
    write_manifest(root, manifest, memory)
    assert hashlib.sha256(b"TWO").hexdigest() in manifest.read_text()


def test_files_are_checked_as_they_are_read(places: tuple[Path, Path, Path]) -> None:
    root, manifest, memory = places
    write_manifest(root, manifest, memory)
    (root / "later.dcm").write_bytes(b"not listed")
    files = listed_files(root, manifest)
    assert [path.name for path, _ in files] == ["2.dcm", "1.dcm"]
    assert read_verified(*files[0]) == b"two"
    files[0][0].write_bytes(b"tWo")
    with pytest.raises(BadInput, match="not what the manifest lists"):
        read_verified(*files[0])
    files[1][0].unlink()
    with pytest.raises(BadInput, match="1 of the 2 files"):
        listed_files(root, manifest)


def test_a_missing_or_wrong_manifest(tmp_path: Path, places: tuple[Path, Path, Path]) -> None:
    with pytest.raises(BadInput, match=r"pipeline\.py manifest"):
        listed_files(places[0], tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="is no manifest"):
        listed_files(places[0], tmp_path / "x.csv")


def test_one_file_as_root(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("ID,Label\n")
    assert write_manifest(tmp_path / "labels.csv", tmp_path / "m.csv", tmp_path / "n.csv") == 1
    assert listed_files(tmp_path / "labels.csv", tmp_path / "m.csv")[0][0].name == "labels.csv"
