from pathlib import Path

import pytest

from corpus.images import Images
from corpus.manifest import write_manifest
from photos.drawn import write_folder
from photos.parameters import Drawn
from settings.errors import BadInput
from settings.places import Local, RawRoots
from stages import prepare_photos, run
from stages.run import Job

DRAWN = {"classes": 2, "per_class": 4, "held_out_share": 0.25, "seed": 0}


def job(root: Path, source: str, local: Local) -> Job:
    (root / "artifacts/.photos.part").mkdir(parents=True)
    section = {"source": source, "side": 24, "drawn": DRAWN, "folder": {"train": "train", "val": "val"}}
    inputs = frozenset() if source == "drawn" else frozenset(["data/photos.csv"])
    return Job(
        "prepare-photos", {"prepare_photos": section}, root / "work", local, inputs, frozenset(["artifacts/photos"])
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    return tmp_path


def test_embedded_photos_need_no_input(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_photos.run(job(root, "drawn", Local(workers=1)))
    assert Images(root / "artifacts/.photos.part", "photos").column("part") == ["train"] * 6 + ["val"] * 2
    assert "8 photos of 2 classes: 6 to train on, 2 held out" in capsys.readouterr().out


def test_own_photos_are_those_of_the_manifest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(root / "own", Drawn(**DRAWN), 32)  # type: ignore[arg-type]
    (root / "own/train/n90000001/n90000001_00001.png").write_bytes(b"damaged")
    write_manifest(root / "own", root / "data/photos.csv", root / "names.csv")
    prepare_photos.run(job(root, "folder", Local(workers=1, raw=RawRoots(photos=root / "own"))))
    images = Images(root / "artifacts/.photos.part", "photos")
    assert len(images) == 7 and images.card["class_names"] == ["spoked wheel", "ladder"]
    assert "1 rejected: not-an-image" in capsys.readouterr().out


def test_a_missing_raw_root_is_never_drawn_photos(root: Path) -> None:
    with pytest.raises(BadInput, match=r"raw\.photos"):
        prepare_photos.run(job(root, "folder", Local(workers=1)))
