"""A training that is killed, with and without the `dvc repro` that started it, ends as if it had not been."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipeline.checkouts import ENVIRONMENT, copy_checkout, dvc, pipeline

TINY = {
    "phantom_ct.patients": 12,
    "phantom_ct.slices": 2,
    "phantom_ct.oddities.truncated": 1,
    "prepare_ct.hu_side": 64,
    "prepare_photos.side": 32,
    "prepare_photos.drawn.per_class": 4,
    "gan_train.side": 32,
    "gan_train.field": 11,
    "gan_train.field_share": 0.5,
    "gan_train.evaluate_every": 80,
    "gan_train.samples": 2,
    "gan_train.pool": 8,
    "gan_train.ngf": 4,
    "gan_train.blocks": 1,
    "gan_train.ndf": 8,
    "gan_train.images": 160,
    "gan_train.batch": 4,
    "gan_train.watch.after": 0,
    "gan_train.watch.kid": 4,
    "corpus_pretrain.architecture": "test_efficientnet.r160_in1k",  # timm's own miniature, for KID
    "corpus_pretrain.side": 32,
    "corpus_pretrain.images": 32,
    "corpus_pretrain.evaluate_every": 32,
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that gan-train needs, made; SAVE_EVERY_SECONDS=0 so that a kill loses one step."""
    place = copy_checkout(tmp_path_factory.mktemp("interruptions") / "checkout", TINY)
    dvc(place, "repro", "-q", "split-ct", "corpus-pretrain@photos")
    return place


@pytest.fixture(scope="module")
def whole(checkout: Path) -> str:
    """Hash of the artifact of an uninterrupted run, whose state and out are then removed."""
    pipeline(checkout, "stage", "gan-train")
    return forget(checkout)


def forget(checkout: Path) -> str:
    made = sorted((checkout / "artifacts/gan").iterdir())
    assert {"generator.safetensors", "training.csv", "validation.csv", "warnings.csv"} <= {path.name for path in made}
    found = hashlib.sha256(b"".join(path.read_bytes() for path in made)).hexdigest()
    subprocess.run(
        ["rm", "-rf", "work/gan-train", "artifacts/gan", "artifacts/provenance/gan-train.json"],
        cwd=checkout,
        check=True,
    )
    return found


def start(checkout: Path, *command: str) -> subprocess.Popen[bytes]:
    environment = {**ENVIRONMENT, "SCOPEFORMER_SAVE_EVERY_SECONDS": "0"}
    return subprocess.Popen(
        [sys.executable, *command], cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for_state(checkout: Path, images: int) -> int:
    """The process that runs the stage, once its state has seen so many images."""
    patience = time.monotonic() + 120
    while time.monotonic() < patience:
        states = [
            int(re.sub(r"\D", "", p.name)) for p in checkout.glob("work/gan-train/*/state-*") if p.suffix != ".part"
        ]
        if states and max(states) >= images:
            return int((checkout / "work/gan-train/lock").read_text())
        time.sleep(0.02)
    raise AssertionError("no state appeared")


def test_kill_9_of_the_stage(checkout: Path, whole: str) -> None:
    stage = start(checkout, "pipeline.py", "stage", "gan-train")
    os.kill(wait_for_state(checkout, 40), signal.SIGKILL)
    assert stage.wait() == -signal.SIGKILL
    assert not (checkout / "artifacts/gan").exists()
    again = pipeline(checkout, "stage", "gan-train")
    assert "resuming at" in again.stdout
    assert "dvc commit -f gan-train" in again.stdout
    # DVC knows nothing of that run; its own does not train twice.
    after = dvc(checkout, "repro", "-s", "gan-train")
    assert "finished at 160 of 160" in after.stdout and "resuming" not in after.stdout
    assert forget(checkout) == whole


def test_kill_9_of_dvc_ends_the_stage_and_the_next_repro_resumes(checkout: Path, whole: str) -> None:
    (checkout / "dvc.lock").unlink(missing_ok=True)  # else the run cache would restore the first test's outs
    subprocess.run(["rm", "-rf", ".dvc/cache/runs"], cwd=checkout, check=True)
    repro = start(checkout, "-m", "dvc", "repro", "-s", "gan-train")
    stage = psutil.Process(wait_for_state(checkout, 40))
    repro.kill()
    repro.wait()
    stage.wait(timeout=60)  # it saw that DVC is gone, saved, and ended
    assert (checkout / "work/requeue").read_text() == "gan-train\n"
    again = dvc(checkout, "repro", "-s", "gan-train")
    assert "resuming at" in again.stdout
    assert forget(checkout) == whole


def test_sigterm_saves_and_asks_for_the_queue(checkout: Path, whole: str) -> None:
    (checkout / "work/requeue").unlink(missing_ok=True)
    stage = start(checkout, "pipeline.py", "stage", "gan-train")
    os.kill(wait_for_state(checkout, 20), signal.SIGTERM)
    assert stage.wait(timeout=60) == 143
    assert (checkout / "work/requeue").exists()
    pipeline(checkout, "stage", "gan-train")
    assert forget(checkout) == whole


def test_two_processes_by_one_setting(checkout: Path, whole: str) -> None:
    """torchrun starts the ranks, both see half of every batch, one writes."""
    done = pipeline(checkout, "stage", "gan-train", SCOPEFORMER_PROCESSES="2")
    assert "2 ranks" in done.stdout
    ranks = [p.name for p in checkout.glob("work/gan-train/*/state-000000000160/rank-*.pt")]
    assert sorted(ranks) == ["rank-0.pt", "rank-1.pt"]
    assert '"ranks": 2' in (checkout / "artifacts/provenance/gan-train.json").read_text()
    forget(checkout)
