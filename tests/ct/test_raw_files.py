import os
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.manifest import listed_files, short_hash, write_manifest
from ct.raw_files import chosen, files_below, find_files
from settings.errors import BadInput


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b/2.dcm", "b/10.dcm", "a.dcm", "b/notes.txt", ".hidden/x.dcm", "b/.y.dcm"):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "raw"


def test_dicom_files_without_a_manifest(root: Path) -> None:
    files = find_files(root, None)
    assert files.table["name"].to_pylist() == [b"a.dcm", b"b/10.dcm", b"b/2.dcm"] and len(files) == 3
    (found,) = chosen(files, pa.array([1]))
    assert found == (root / "b/10.dcm", short_hash("b/10.dcm"), None)


def test_the_manifest_chooses_and_describes(root: Path, tmp_path: Path) -> None:
    write_manifest(root, tmp_path / "ct.csv", tmp_path / "names.csv")
    (root / "later.dcm").touch()
    files = find_files(root, tmp_path / "ct.csv")
    assert files.table["name"].to_pylist() == [b"a.dcm", b"b/10.dcm", b"b/2.dcm", b"b/notes.txt"]
    expected = sorted(listed_files(root, tmp_path / "ct.csv"))
    assert sorted((file.path, file.entry) for file in chosen(files, pa.array(range(4)))) == expected
    (root / "a.dcm").unlink()
    with pytest.raises(BadInput, match=r"1 of the 4 files listed in ct\.csv are not there") as error:
        find_files(root, tmp_path / "ct.csv")
    assert "a.dcm" not in str(error.value)


def test_names_are_in_order_and_linked_folders_are_not_entered(root: Path) -> None:
    (root / "b/link").symlink_to(root / "b", target_is_directory=True)
    (root / "ä.dcm").touch()
    (root / "linked.dcm").symlink_to(root / "a.dcm")
    (root / os.fsdecode(b"\xe4.dcm")).touch()
    names = [os.fsdecode(name) for name in files_below(root).to_pylist()]
    assert names == ["a.dcm", "b/10.dcm", "b/2.dcm", "b/notes.txt", "linked.dcm", "ä.dcm", "\udce4.dcm"]


def test_another_csv_is_no_manifest(root: Path, tmp_path: Path) -> None:
    for text in ("id,size\n1,2\n", "id,size,sha256\nx,many,y\n", ""):
        (tmp_path / "ct.csv").write_text(text)
        with pytest.raises(BadInput, match="is no manifest"):
            find_files(root, tmp_path / "ct.csv")
    with pytest.raises(BadInput, match=r"missing; run `python pipeline.py manifest`"):
        find_files(root, tmp_path / "none.csv")
