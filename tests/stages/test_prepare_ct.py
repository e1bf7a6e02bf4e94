from pathlib import Path

import pytest

from corpus.images import Images
from corpus.manifest import write_manifest
from settings.errors import BadArtifact
from settings.places import Local, RawRoots
from stages import prepare_ct, run
from stages.run import Job
from tests.ct.files import flat, write_dicom

WINDOWS = {"brain": [40, 80], "subdural": [80, 200], "soft-tissue": [40, 380]}
OUTS = ["artifacts/ct/images-16", "artifacts/ct/images-24", "artifacts/ct/hu-32"]


def job(root: Path, source: str, inputs: list[str], local: Local) -> Job:
    for out in OUTS:
        (root / out).with_name(f".{Path(out).name}.part").mkdir(parents=True)
    parameters = {
        "prepare_ct": {"source": source, "ids": "rsna", "sides": [16, 24], "hu_side": 32, "rejects_at_most": 0.5},
        "windows": WINDOWS,
    }
    return Job("prepare-ct", parameters, root / "work", local, frozenset(inputs), frozenset(OUTS))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    return tmp_path


def made(root: Path) -> list[list[str]]:
    return [Images((root / out).with_name(f".{Path(out).name}.part")).column("id") for out in OUTS]


def test_phantoms_are_read_from_their_artifact(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        path = root / f"artifacts/phantom/stage_2_train/ID_{number}.dcm"
        write_dicom(path, flat(1064), SOPInstanceUID=path.stem, ImagePositionPatient=["0", "0", str(number)])
    path.write_bytes(path.read_bytes()[:-1])
    prepare_ct.run(job(root, "phantom", ["artifacts/phantom"], Local(workers=1)))
    assert made(root) == [["ID_0", "ID_1"]] * 3
    printed = capsys.readouterr().out
    assert "2 slices of 1 patients in 1 series from 3 files" in printed and "1 rejected: truncated" in printed
    assert "0 are tilted, 0 have slices at one position" in printed


def test_another_rank_makes_its_shards_and_writes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_dicom(root / "artifacts/phantom/ID_0.dcm", flat(1064), SOPInstanceUID="ID_0")
    first = job(root, "phantom", ["artifacts/phantom"], Local(workers=1))
    prepare_ct.run(first)
    for file in (root / "artifacts/ct").rglob("*.npy"):
        file.unlink()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    prepare_ct.run(first)
    assert "this rank's shards are done" in capsys.readouterr().out
    assert path.exists() and not list((root / "artifacts/ct").rglob("*.npy"))


def test_own_files_are_those_of_the_manifest(root: Path) -> None:
    for name in ("a", "b"):
        write_dicom(root / f"own/{name}.dcm", flat(1064))
    write_manifest(root / "own", root / "data/ct.csv", root / "names.csv")
    write_dicom(root / "own/unlisted.dcm", flat(1064))
    prepare_ct.run(job(root, "folder", ["data/ct.csv"], Local(workers=1, raw=RawRoots(ct=root / "own"))))
    assert made(root) == [["ID_a", "ID_b"]] * 3


def test_an_undeclared_input_is_refused(root: Path) -> None:
    with pytest.raises(BadArtifact, match="declare"):
        prepare_ct.run(job(root, "phantom", ["data/ct.csv"], Local(workers=1)))
