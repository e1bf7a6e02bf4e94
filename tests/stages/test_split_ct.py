import csv
from pathlib import Path
from typing import Any

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

FILES = ("train-ids", "val-ids", "parts", "labels-train", "labels-val", "labels-test", "labels-hold-out")
OUTS = [*(f"artifacts/split/{name}.parquet" for name in FILES), "artifacts/split/folds.csv"]
OUTS += ["artifacts/split/label-report.csv"]


def job(root: Path, source: str, ids: str, inputs: list[str], labels: Path | None = None, **changes: Any) -> Job:
    shares = {"hold_out_share": 0.0, "val_share": 0.2, "cnn_share": 0.5}
    parameters = {
        "split_ct": {"seed": 0, "folds": 5, "fold": 0, **shares, "file": None, "fatal": [], **changes},
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
    pixels = ["", "", *(f"{number:016x}" for number in range(2, 60))]
    pixels[20] = pixels[30]  # a slice of p0010 is one of p0015, labelled otherwise
    pixels[11], pixels[13] = pixels[10], pixels[12]  # p0005 and p0006 have one slice twice; those of p0006 contradict
    ids = [short_hash(name) for name in names]
    index = pa.table({"id": ids, "patient": patients, "pixels": pixels, "linked": patients})
    finish_images(folder, "hu", index, [], windows=[[40, 80]] * 3, hu_range=[0, 80])
    rows = [f"{name}_{label},{int(n % 4 == 0)}" for n, name in enumerate(names[:58]) for label in LABELS]
    (tmp_path / "artifacts/phantom/stage_2_train.csv").write_text("\n".join(["ID,Label", *rows, *rows[:1]]))
    return tmp_path


def read(root: Path, name: str) -> pa.Table:
    return pq.read_table(root / f"artifacts/split/.{name}.parquet.part")


def report(root: Path) -> list[dict[str, str]]:
    with (root / "artifacts/split/.label-report.csv.part").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_are_written_and_the_log_counts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split_ct.run(job(root, "phantom", "hash", ["artifacts/ct/hu-32", "artifacts/phantom"]))
    parts = read(root, "parts")
    assert parts.column_names == ["id", "patient", "part", "half"] and parts.num_rows == 60
    for part in ("train", "val"):
        named = read(root, f"{part}-ids")
        assert named.column_names == ["id"]
        assert named["id"].to_pylist() == [row["id"] for row in parts.to_pylist() if row["part"] == part] != []
    tables = [read(root, f"labels-{part}") for part in ("train", "val", "test", "hold-out")]
    assert tables[-1].num_rows == 0
    assert all(table.column_names == ["id", *LABELS] for table in tables)
    assert sum(table.num_rows for table in tables) == 58
    assert set(parts["part"].to_pylist()) == {"train", "val", "test", "unlabelled"}
    printed = capsys.readouterr().out
    assert "58 slices are labelled; duplicate-row 1, " in printed and "slice-without-label 2" in printed
    assert "unlabelled" in printed and "2 patients (p0010, p0015) share slices" in printed
    parted = {row["patient"]: row["part"] + row["half"] for row in parts.to_pylist()}
    assert parted["p0010"] == parted["p0015"]


def test_the_report_lists_what_is_odd_without_an_identifier(root: Path) -> None:
    split_ct.run(job(root, "phantom", "hash", ["artifacts/ct/hu-32", "artifacts/phantom"]))
    found = [(row["rule"], row["id"], row["detail"]) for row in report(root)]
    everything = ", ".join(LABELS)
    assert found == sorted(
        [
            ("duplicate-row", short_hash("ID_00"), "epidural: 2 equal rows"),
            *(("slice-without-label", short_hash(f"ID_{n}"), "") for n in (58, 59)),
            *(("shared-pixels", short_hash(f"ID_{n}"), "same pixels as slices of p0010, p0015") for n in (20, 30)),
            *(
                ("pixels-labelled-differently", one, f"{everything}; same pixels as {another}")
                for one, another in (
                    (short_hash("ID_12"), short_hash("ID_13")), (short_hash("ID_13"), short_hash("ID_12")),
                    (short_hash("ID_20"), short_hash("ID_30")), (short_hash("ID_30"), short_hash("ID_20")),
                )
            ),
        ]
    )  # fmt: skip
    assert b"ID_" not in (root / "artifacts/split/.label-report.csv.part").read_bytes()


@pytest.mark.parametrize("rule", ["duplicate-row", "pixels-labelled-differently", "slice-without-label"])
def test_a_finding_is_an_error_where_the_parameters_say_so(root: Path, rule: str) -> None:
    inputs = ["artifacts/ct/hu-32", "artifacts/phantom"]
    (root / "work").mkdir()
    with pytest.raises(BadInput, match=rf"split_ct\.fatal: {rule} \d; first: slice [0-9a-f]{{16}}.*label-report\.csv"):
        split_ct.run(job(root, "phantom", "hash", inputs, fatal=[rule]))
    assert rule in (root / "work/label-report.csv").read_text()
    assert not (root / "artifacts/split/.parts.parquet.part").exists()
    split_ct.run(job(root, "phantom", "hash", inputs, fatal=["any-differs", "conflicting-rows"]))


def test_the_shipped_split_is_an_input_of_the_next_one_and_refused_when_it_leaks(root: Path) -> None:
    inputs = ["artifacts/ct/hu-32", "artifacts/phantom"]
    split_ct.run(job(root, "phantom", "hash", inputs, hold_out_share=0.2))
    dealt, text = read(root, "parts"), (root / "artifacts/split/.folds.csv.part").read_text()
    assert read(root, "labels-hold-out").num_rows > 0
    (root / "data").mkdir(exist_ok=True)
    file = root / "data/folds.csv"
    file.write_text(text)
    split_ct.run(job(root, "phantom", "hash", [*inputs, "data/folds.csv"], file="data/folds.csv"))
    assert read(root, "parts").equals(dealt)
    fold = next(row["fold"] for row in csv.DictReader(text.splitlines()) if row["patient"] == "p0010")
    wrong = "1" if fold != "1" else "2"
    lines = [f'{line.rsplit(",", 1)[0]},"{wrong}"' if '"p0010"' in line else line for line in text.splitlines()]
    file.write_text("\n".join(lines))
    with pytest.raises(BadInput, match=r"^data/folds.csv: patients p0010 and p0015 share slices"):
        split_ct.run(job(root, "phantom", "hash", [*inputs, "data/folds.csv"], file="data/folds.csv"))


def test_own_labels_are_verified_by_their_manifest(root: Path) -> None:
    own_csv = root / "own.csv"
    own_csv.write_bytes((root / "artifacts/phantom/stage_2_train.csv").read_bytes())
    write_manifest(own_csv, root / "data/labels.csv", root / "names.csv")
    own = job(root, "folder", "hash", ["artifacts/ct/hu-32", "data/labels.csv"], own_csv)
    split_ct.run(own)
    assert read(root, "parts").num_rows == 60
    own_csv.write_text("ID,Label\nID_00_any,1\n")
    with pytest.raises(BadInput, match="manifest"):
        split_ct.run(own)


def test_ids_of_another_kind_match_nothing(root: Path) -> None:
    with pytest.raises(BadInput, match=r"prepare_ct\.ids"):
        split_ct.run(job(root, "phantom", "rsna", ["artifacts/ct/hu-32", "artifacts/phantom"]))
