from pathlib import Path

import numpy as np
import pytest

from corpus.images import Images
from corpus.manifest import write_manifest
from photos import prepare
from photos.drawn import draw_photo, write_folder
from photos.parameters import Drawn, Splits
from photos.prepare import prepare_drawn, prepare_folder
from settings.errors import BadInput

SMALL = Drawn(classes=3, per_class=8, held_out_share=0.25, seed=2)
SPLITS = Splits(train="train", val="val")


def corpus(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def fresh(path: Path) -> Path:
    path.mkdir()
    return path


def manifest_of(root: Path) -> Path:
    manifest = root.parent / "photos.csv"
    write_manifest(root, manifest, root.parent / "memory.csv")
    return manifest


def test_the_drawn_corpus(tmp_path: Path) -> None:
    out = fresh(tmp_path / "out")
    counts = prepare_drawn(SMALL, 24, tmp_path / "work", out)
    assert counts == {"photos": 24, "classes": 3, "train": 18, "val": 6, "rejected_by": {}}
    images = Images(out, "photos")
    assert images.side == 24 and images.card["classes"] == ["n90000001", "n90000002", "n90000003"]
    assert images.column("part") == ["train"] * 18 + ["val"] * 6
    assert images.column("label")[:7] == [0] * 6 + [1] and len(set(images.column("id"))) == 24
    assert images.index.schema.field("label").type == "int32"
    row = images.column("name").index("n90000002_00007")
    assert images.column("part")[row] == "val"
    assert np.array_equal(images.shards.read([row])[0], draw_photo(2, 1, 7, 24))


def test_any_number_of_workers_writes_the_same(tmp_path: Path) -> None:
    one, two = fresh(tmp_path / "one"), fresh(tmp_path / "two")
    prepare_drawn(SMALL, 24, tmp_path / "work-one", one)
    prepare_drawn(SMALL, 24, tmp_path / "work-two", two, workers=2)
    assert corpus(one) == corpus(two)


def test_drawn_photos_through_a_folder_are_the_same(tmp_path: Path) -> None:
    raw, direct, read = tmp_path / "raw", fresh(tmp_path / "direct"), fresh(tmp_path / "read")
    write_folder(raw, SMALL, 24)
    prepare_drawn(SMALL, 24, tmp_path / "work", direct)
    prepare_folder(raw, manifest_of(raw), SPLITS, 24, tmp_path / "work-read", read)
    first, second = Images(direct), Images(read)
    assert first.index.drop(["name"]).equals(second.index.drop(["name"]))
    assert np.array_equal(first.shards.read(range(24)), second.shards.read(range(24)))
    assert first.card["class_names"] == second.card["class_names"]


def test_unreadable_photos_are_rejects_and_the_rest_stays_in_order(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", fresh(tmp_path / "out")
    write_folder(raw, SMALL, 24)
    broken = raw / "train/n90000001/n90000001_00000.png"
    broken.write_bytes(broken.read_bytes()[:100])
    counts = prepare_folder(raw, manifest_of(raw), SPLITS, 24, tmp_path / "work", out)
    assert counts["train"] == 17 and counts["rejected_by"] == {"unreadable": 1}
    images = Images(out)
    assert images.card["rejected"] == 1 and "n9" not in (out / "rejects.csv").read_text()
    assert np.array_equal(images.shards.read([0])[0], draw_photo(2, 0, 1, 24))
    assert np.array_equal(images.shards.read([22])[0], draw_photo(2, 2, 7, 24))


def test_a_part_without_photos_is_an_error(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_folder(raw, SMALL, 24)
    for path in (raw / "val").rglob("*.png"):
        path.write_bytes(b"?")
    with pytest.raises(BadInput, match="18 are left to train on and 0 held out"):
        prepare_folder(raw, manifest_of(raw), SPLITS, 24, tmp_path / "work", fresh(tmp_path / "out"))


def test_a_file_that_is_not_what_the_manifest_lists_is_an_error(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_folder(raw, SMALL, 24)
    manifest = manifest_of(raw)
    (raw / "val/n90000001/n90000001_00007.png").write_bytes(b"edited")
    with pytest.raises(BadInput, match="not what the manifest lists"):
        prepare_folder(raw, manifest, SPLITS, 24, tmp_path / "work", fresh(tmp_path / "out"))


def test_a_killed_run_goes_on_with_the_unfinished_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fresh(tmp_path / "whole")
    prepare_drawn(SMALL, 24, tmp_path / "work-whole", whole)
    made: list[int] = []
    real = prepare._make_shard

    def killed_at_fourth(shard: prepare._Shard) -> int:
        if shard.number == 3 and 3 not in made:
            made.append(3)
            raise KeyboardInterrupt
        made.append(shard.number)
        return real(shard)

    monkeypatch.setattr(prepare, "_make_shard", killed_at_fourth)
    out = fresh(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        prepare_drawn(SMALL, 24, tmp_path / "work", out)
    prepare_drawn(SMALL, 24, tmp_path / "work", out)
    assert made == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert corpus(out) == corpus(whole)
