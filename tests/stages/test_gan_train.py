from pathlib import Path
from typing import Any

import pytest

from corpus.card import read_card
from corpus.shards import Shards
from settings.errors import BadParameter
from stages.gan_train import run
from stages.run import Job
from tests.evaluation.jobs import make_job
from tests.gan.made import HU_SIDE, PARAMETERS, make_corpora

INPUTS = ["artifacts/photos", f"artifacts/ct/hu-{HU_SIDE}", "artifacts/split/train-ids.parquet"]


def make(root: Path, monkeypatch: pytest.MonkeyPatch, **change: Any) -> Job:
    make_corpora(root)
    given = {"gan_train": {**PARAMETERS, **change}, "prepare_ct": {"hu_side": HU_SIDE}, "seed": 0}
    return make_job(root, monkeypatch, "gan-train", given, INPUTS, ["artifacts/gan"])


def test_reads_train_images_only_and_no_label_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make(tmp_path, monkeypatch)
    for name in ("labels-train", "labels-val", "labels-test", "parts"):
        (tmp_path / f"artifacts/split/{name}.parquet").write_text("reading this fails")
    asked: list[str] = []
    rows: dict[str, set[int]] = {}
    ask, read = Job.input, Shards.read

    def input_(self: Job, path: str) -> Path:
        asked.append(path)
        return ask(self, path)

    def read_(self: Shards, wanted: Any) -> Any:
        rows.setdefault(self.folder.name, set()).update(int(row) for row in wanted)
        return read(self, wanted)

    monkeypatch.setattr(Job, "input", input_)
    monkeypatch.setattr(Shards, "read", read_)
    run(job)
    assert sorted(asked) == sorted(INPUTS)
    assert rows == {"photos": set(range(10)), f"hu-{HU_SIDE}": set(range(5))}, "the last four of each are held out"
    assert read_card(job.out("artifacts/gan"), "translator")["images"] == 24


def test_a_field_as_wide_as_the_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadParameter, match=r"gan_train: field: 70 px"):
        run(make(tmp_path, monkeypatch, field=70))
