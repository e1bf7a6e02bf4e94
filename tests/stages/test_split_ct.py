from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.images import finish_images
from corpus.manifest import short_hash, write_manifest
from corpus.shards import write_shard
from ct.labels import LABELS
from settings.errors import BadInput
from settings.places import Local, RawRoots
from stages import run, split_ct
from stages.run import Job

FILES = ("train-ids", "parts", "labels-train", "labels-val", "labels-test")
OUTS = [f"artifacts/split/{name}.parquet" for name in FILES]


def job(root: Path, source: str, ids: str, inputs: list[str], labels: Path | None = None) -> Job:
    parameters = {
        "split_ct": {"seed": 0, "folds": 5, "fold": 0, "val_share": 0.2, "cnn_share": 0.5},
        "prepare_ct": {"source": source, "ids": ids, "hu_side": 32},
    }
    local = Local(raw=RawRoots(labels=labels))
    return Job("split-ct", parameters, root / "work", local, frozenset(inputs), frozenset(OUTS))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of 30 patients with two slices each, and the phantoms' CSV; the last patient has no label."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    folder = tmp_path / "artifacts/ct/hu-32"
    folder.mkdir(parents=True)
    (tmp_path / "artifacts/split").mkdir()
    (tmp_path / "artifacts/phantom").mkdir()
    names = [f"ID_{number:02d}" for number in range(60)]
    write_shard(folder, 0, np.zeros((60, 32, 32, 1), np.uint8))
    patients = [f"p{number // 2:04d}" for number in range(60)]
    index = pa.table({"id": [short_hash(name) for name in names], "patient": patients})
    finish_images(folder, "hu", index, [], windows=[[40, 80]] * 3, hu_range=[0, 80])
    rows = [f"{name}_{label},{int(n % 4 == 0)}" for n, name in enumerate(names[:58]) for label in LABELS]
    (tmp_path / "artifacts/phantom/stage_2_train.csv").write_text("\n".join(["ID,Label", *rows, *rows[:1]]))
    return tmp_path


def read(root: Path, name: str) -> pa.Table:
    return pq.read_table(root / f"artifacts/split/.{name}.parquet.part")


def test_five_files_are_written_and_the_log_counts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split_ct.run(job(root, "phantom", "hash", ["artifacts/ct/hu-32", "artifacts/phantom"]))
    parts = read(root, "parts")
    assert parts.column_names == ["id", "patient", "part", "half"] and parts.num_rows == 60
    assert read(root, "train-ids").column_names == ["id"]
    tables = [read(root, f"labels-{part}") for part in ("train", "val", "test")]
    assert all(table.column_names == ["id", *LABELS] for table in tables)
    assert sum(table.num_rows for table in tables) == 58
    assert set(parts["part"].to_pylist()) == {"train", "val", "test", "unlabelled"}
    printed = capsys.readouterr().out
    assert "duplicate_rows 1" in printed and "slices_without_label 2" in printed and "unlabelled" in printed


def test_own_labels_are_verified_by_their_manifest(root: Path) -> None:
    csv = root / "own.csv"
    csv.write_bytes((root / "artifacts/phantom/stage_2_train.csv").read_bytes())
    write_manifest(csv, root / "data/labels.csv", root / "names.csv")
    own = job(root, "folder", "hash", ["artifacts/ct/hu-32", "data/labels.csv"], csv)
    split_ct.run(own)
    assert read(root, "parts").num_rows == 60
    csv.write_text("ID,Label\nID_00_any,1\n")
    with pytest.raises(BadInput, match="manifest"):
        split_ct.run(own)


def test_ids_of_another_kind_match_nothing(root: Path) -> None:
    with pytest.raises(BadInput, match=r"prepare_ct\.ids"):
        split_ct.run(job(root, "phantom", "rsna", ["artifacts/ct/hu-32", "artifacts/phantom"]))
