"""What a user sees when something is wrong: one line, an exit status, no traceback."""

import errno
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tests.pipeline.checkouts import ENVIRONMENT, change_params, copy_checkout, pipeline

TINY = {"phantom_ct.patients": 12, "phantom_ct.slices": 2, "prepare_photos.drawn.per_class": 4}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("command-line") / "checkout", TINY)


@pytest.fixture
def params(checkout: Path) -> Any:
    kept = (checkout / "params.yaml").read_text()
    yield checkout
    (checkout / "params.yaml").write_text(kept)


def refused(checkout: Path, *words: str, status: int = 2, **environment: str) -> str:
    done = pipeline(checkout, *words, check=False, **environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_an_unknown_stage_names_the_nearest(checkout: Path) -> None:
    assert "did you mean 'gan-train'" in refused(checkout, "stage", "gan-trian")


def test_a_mistyped_parameter_names_the_nearest(params: Path) -> None:
    text = (params / "params.yaml").read_text().replace("learning_rate:", "lerning_rate:", 1)
    (params / "params.yaml").write_text(text)
    assert "did you mean 'learning_rate'" in refused(params, "stage", "gan-train")
    assert "did you mean 'learning_rate'" in refused(params, "graph")
    assert "Traceback" in pipeline(params, "--debug", "graph", check=False).stderr


def test_a_missing_input_names_its_maker(checkout: Path) -> None:
    assert "artifacts/translated is missing; `dvc repro gan-pretrain`" in refused(checkout, "stage", "gan-pretrain")


def test_a_missing_raw_root_is_never_phantoms(params: Path) -> None:
    change_params(params, {"prepare_photos.source": "folder"})
    pipeline(params, "graph")
    try:
        assert "data/photos.csv is missing; `python pipeline.py manifest`" in refused(params, "stage", "prepare-photos")
        assert "does not exist" in refused(params, "manifest", SCOPEFORMER_RAW_PHOTOS="/nowhere")
        assert "names no raw root" in refused(params, "manifest")
    finally:
        change_params(params, {"prepare_photos.source": "drawn"})
        pipeline(params, "graph")


def test_two_runs_of_one_stage_are_refused(checkout: Path) -> None:
    take = "import time; from commands.stage import hold_lock"
    code = f"{take}\nwith hold_lock('prepare-photos'): print('held'); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-uc", code], cwd=checkout, env=ENVIRONMENT, stdout=PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert f"prepare-photos is being run by process {holder.pid}" in refused(checkout, "stage", "prepare-photos")
    finally:
        holder.kill()
        holder.wait()
    pipeline(checkout, "stage", "prepare-photos")  # a dead holder holds nothing
    assert (checkout / "artifacts/photos/card.json").exists()


def test_inspect_explains_an_artifact_and_leaves_it_alone(checkout: Path) -> None:
    pipeline(checkout, "stage", "prepare-photos")
    folder = checkout / "artifacts/photos"
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    text = pipeline(checkout, "inspect", "artifacts/photos").stdout
    assert "made by prepare-photos" in text and "index.parquet" in text and "contact sheet:" in text
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before
    assert "no card.json" in refused(checkout, "inspect", "artifacts")


def test_a_profile_does_not_overwrite_edits(params: Path) -> None:
    assert "has edits that no profile holds" in refused(params, "profile", "demo")
    assert "did you mean 'paper'" in refused(params, "profile", "papr")


def test_the_help_of_profile_names_those_that_are_there(checkout: Path) -> None:
    own = checkout / "profiles/of-a-team.yaml"
    own.touch()
    text = "".join(pipeline(checkout, "profile", "--help").stdout.split())
    own.unlink()
    assert "profiles/NAME.yaml(arms,arms-small,demo,demo-long,of-a-team,paper,real-small)" in text


def test_doctor_finds_what_is_missing(params: Path) -> None:
    fine = pipeline(params, "doctor", check=False).stdout
    assert "params.yaml and dvc.yaml agree" in fine and "phantoms and drawn photos" in fine
    change_params(params, {"imagenet": {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}})
    bad = pipeline(params, "doctor", check=False)
    assert bad.returncode == 1 and "MISSING  imagenet: raw.weights: no place named" in bad.stdout
    change_params(params, {"imagenet": None, "cnns.imagenet-a.stage": "block5"})
    assert "MISSING  variants.2-cnn.grid: maps of different grids" in pipeline(params, "doctor", check=False).stdout
    assert "variants.2-cnn.grid: maps of different grids" in refused(params, "graph")


def test_help_is_fast_and_lists_the_commands(checkout: Path) -> None:
    started = time.monotonic()
    text = pipeline(checkout, "--help").stdout
    assert time.monotonic() - started < 5
    assert all(
        word in text
        for word in ("stage", "plan", "graph", "profile", "manifest", "doctor", "inspect", "table", "clean")
    )


def test_a_full_disk_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    import commands.graph
    import pipeline as command_line

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "artifacts/translated")

    monkeypatch.setattr(commands.graph, "write_graph", full)
    done = CliRunner().invoke(command_line.main, ["graph"])
    assert done.exit_code == 2 and "error: no space left on the disk (artifacts/translated)" in done.output
