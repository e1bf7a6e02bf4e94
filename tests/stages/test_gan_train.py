import csv
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backbones.feature_cnn import build, save_weights
from corpus.card import read_card, write_card
from corpus.shards import Shards
from gan.translator import Translator
from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.places import ROOT, Local, RawRoots
from stages.gan_train import run
from stages.graph import render
from stages.run import Job
from tests.evaluation.jobs import make_job
from tests.gan.made import HU_SIDE, PARAMETERS, make_corpora

CNN = "test_efficientnet.r160_in1k"  # timm's own miniature
INPUTS = ["artifacts/photos", f"artifacts/ct/hu-{HU_SIDE}", "artifacts/pretrained/photos"]
INPUTS += [f"artifacts/split/{part}-ids.parquet" for part in ("train", "val")]


def make(root: Path, monkeypatch: pytest.MonkeyPatch, **change: Any) -> Job:
    make_corpora(root)
    folder = root / "artifacts/pretrained/photos"
    folder.mkdir(parents=True)
    save_weights(build(CNN, 2, 1e-5), folder)
    write_card(folder, "classifier", architecture=CNN, side=32, outputs=2, batchnorm_eps=1e-5)
    given = {
        "gan_train": {**PARAMETERS, **change}, "prepare_ct": {"hu_side": HU_SIDE}, "seed": 0, "imagenet": None,
        "corpus_pretrain": {"architecture": CNN, "side": 32},
    }  # fmt: skip
    return make_job(root, monkeypatch, "gan-train", given, INPUTS, ["artifacts/gan"])


def test_trains_on_train_images_only_and_reads_no_label_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = make(tmp_path, monkeypatch)
    for name in ("labels-train", "labels-val", "labels-test", "parts"):
        (tmp_path / f"artifacts/split/{name}.parquet").write_text("reading this fails")
    asked: list[str] = []
    rows: dict[str, set[int]] = {}
    trained: list[Translator] = []
    ask, read, step = Job.input, Shards.read, Translator.step

    def input_(self: Job, path: str) -> Path:
        asked.append(path)
        return ask(self, path)

    def read_(self: Shards, wanted: Any) -> Any:
        if trained:
            rows.setdefault(self.folder.name, set()).update(int(row) for row in wanted)
        return read(self, wanted)

    def step_(self: Translator, *arguments: Any) -> Any:
        trained.append(self)
        return step(self, *arguments)

    monkeypatch.setattr(Job, "input", input_)
    monkeypatch.setattr(Shards, "read", read_)
    monkeypatch.setattr(Translator, "step", step_)
    run(job)
    assert sorted(asked) == sorted(INPUTS)
    assert rows == {"photos": set(range(10)), f"hu-{HU_SIDE}": set(range(5))}, "the last four of each are held out"
    printed = capsys.readouterr().out
    assert f"to 3 val patients, 0.0000 between their halves ({CNN} of pretrained/photos at 32 px); below 20" in printed
    assert "gan-train: 10 photos, 5 slices; cycle error" in printed and "WARNING at 8 images: " in printed
    assert f"{printed.count('WARNING')} in all (artifacts/gan/warnings.csv)" in printed
    assert read_card(job.out("artifacts/gan"), "translator")["images"] == 24


def test_the_plots_name_curves_that_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make(tmp_path, monkeypatch, images=8)
    run(job)
    listed = render(load_yaml(ROOT / "params.yaml"))["plots"]
    plots = [plot for named in listed if isinstance(named, dict) for plot in named.values()]
    shown = [
        (file, columns)
        for plot in plots
        if isinstance(plot.get("y"), dict)
        for file, columns in plot["y"].items()
        if "artifacts/gan/" in file
    ]
    assert shown
    for file, columns in shown:
        heads = (job.out("artifacts/gan") / Path(file).name).read_text().splitlines()[0].split(",")
        assert set(columns) <= set(heads), file


def test_a_field_as_wide_as_the_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadParameter, match=r"gan_train: field: 70 px"):
        run(make(tmp_path, monkeypatch, field=70))


def test_consistency_holds_translations_to_a_probe_fitted_on_train_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights/x.safetensors"
    file.parent.mkdir()
    save_file(build(CNN, 7, 1e-3).state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    job = make(tmp_path, monkeypatch, consistency=1.0, images=4, evaluate_every=4)
    given = {**job.parameters, "imagenet": {"file": file.name, "sha256": digest, "batchnorm_eps": 1e-3}}
    job = replace(job, parameters=given, local=Local(device="cpu", raw=RawRoots(weights=file.parent)))
    run(job)
    with (job.out("artifacts/gan") / "training.csv").open() as rows:
        losses = [float(row["consistency"]) for row in csv.DictReader(rows)]
    assert len(losses) == 2 and all(loss > 0 for loss in losses)
