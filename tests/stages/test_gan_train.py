import csv
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backbones.feature_cnn import build
from corpus.card import read_card
from corpus.shards import Shards
from settings.errors import BadParameter
from settings.places import Local, RawRoots
from stages.gan_train import run
from stages.run import Job
from tests.evaluation.jobs import make_job
from tests.gan.made import HU_SIDE, PARAMETERS, make_corpora

NAME = "test_efficientnet.r160_in1k"  # timm's own miniature
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


def test_consistency_holds_translations_to_a_probe_fitted_on_train_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights/x.safetensors"
    file.parent.mkdir()
    save_file(build(NAME, 7, 1e-3).state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    job = make(tmp_path, monkeypatch, consistency=1.0, images=4, evaluate_every=4)
    given = {
        **job.parameters,
        "imagenet": {"file": file.name, "sha256": digest, "batchnorm_eps": 1e-3},
        "corpus_pretrain": {"architecture": NAME},
    }
    job = replace(job, parameters=given, local=Local(device="cpu", raw=RawRoots(weights=file.parent)))
    run(job)
    with (job.out("artifacts/gan") / "training.csv").open() as rows:
        losses = [float(row["consistency"]) for row in csv.DictReader(rows)]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
