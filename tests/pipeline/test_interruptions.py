"""A training that is killed, with and without the `dvc repro` that started it, ends as if it had not been."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from tests.pipeline.checkouts import ENVIRONMENT, change_params, copy_checkout, dvc, pipeline
from tests.training.ranks import on_own_core, two_machines

MINIATURE, CNNS = "test_efficientnet.r160_in1k", ("imagenet-a", "imagenet-b", "gan")  # timm's own; of the demo
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
    "corpus_pretrain.architecture": MINIATURE,  # for KID
    **{f"cnns.{name}.architecture": MINIATURE for name in CNNS},
    **{f"cnns.{name}.stage": "blocks" for name in CNNS},
    "corpus_pretrain.side": 32,
    "corpus_pretrain.images": 32,
    "corpus_pretrain.evaluate_every": 32,
    "vit.dropout": 0.0,  # without draws, so that the number of ranks changes nothing
    "vit.dim": 12,
    "vit.depth": 1,
    "variants.vit.patch": 24,
    "vit_train.images": 32,
    "vit_train.batch": 8,
    "vit_train.evaluate_every": 32,
    "vit_train.flip": False,
    "vit_train.rotate": 0,
    "vit_train.shift": 0.0,
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


def start(checkout: Path, *command: str, machine: int | None = None, **environment: str) -> subprocess.Popen[str]:
    """A command in its own process group, which a scheduler would signal; what it says goes to `said`."""
    with (checkout / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=checkout,
            env={**ENVIRONMENT, "SCOPEFORMER_SAVE_EVERY_SECONDS": "0", **environment},
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
            preexec_fn=None if machine is None else on_own_core(machine),
        )


def asks(checkout: Path) -> bool:
    """Whether the stage has asked a scheduler's script to be run again."""
    return (checkout / "work/gan-train/requeue").exists()


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
    assert asks(checkout)
    again = dvc(checkout, "repro", "-s", "gan-train")
    assert "resuming at" in again.stdout
    assert forget(checkout) == whole


def test_sigterm_saves_and_asks_for_the_queue(checkout: Path, whole: str) -> None:
    """In one process, then in a rank of a user's own torchrun, whose start takes the first one's request back."""
    stage = start(checkout, "pipeline.py", "stage", "gan-train")
    os.kill(wait_for_state(checkout, 20), signal.SIGTERM)
    assert stage.wait(timeout=60) == 143
    assert asks(checkout)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1")
    stage = start(checkout, *torchrun, "pipeline.py", "stage", "gan-train", SLURM_JOB_ID="7")
    wait_for_state(checkout, 60)
    assert not asks(checkout)
    stage.terminate()
    stage.wait(timeout=60)
    assert (checkout / "work/gan-train/requeue").read_text() == "7\n"
    pipeline(checkout, "stage", "gan-train")
    assert not asks(checkout)
    assert forget(checkout) == whole


def ranks_of(stage: psutil.Process) -> list[psutil.Process]:
    """The processes that a stage launched, in the order of their ranks."""
    return sorted(stage.children(), key=lambda child: int(child.environ()["RANK"]))


def test_two_ranks_are_killed_preempted_and_resumed(checkout: Path) -> None:
    """Under `dvc repro`: kill -9 of a rank, then SIGTERM to all, as a scheduler sends it; then to the end."""
    (checkout / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", ".dvc/cache/runs"], cwd=checkout, check=True)
    change_params(checkout, {"gan_train.images": 320, "gan_train.evaluate_every": 160})
    two: Any = {"SCOPEFORMER_LAUNCH": "launch/cpu-2.yaml"}

    repro = start(checkout, "-m", "dvc", "repro", "-s", "gan-train", **two)
    victim = ranks_of(psutil.Process(wait_for_state(checkout, 12)))[1]
    victim.kill()
    assert repro.wait(timeout=60) == 255
    said = (checkout / "said").read_text()
    assert said.count("rank 1 was ended by SIGKILL") == 1 and said.count("error:") == 1 and "Traceback" not in said
    assert not asks(checkout) and not (checkout / "artifacts/gan").exists()

    repro = start(checkout, "-m", "dvc", "repro", "-s", "gan-train", **two)
    stage = psutil.Process(wait_for_state(checkout, 60))
    os.killpg(repro.pid, signal.SIGTERM)  # DVC dies of it at once
    stage.wait(timeout=60)
    said = (checkout / "said").read_text()
    assert "resuming at" in said and said.count("error: gan-train: stopped at") == 1 and "Traceback" not in said
    assert asks(checkout)

    done = pipeline(checkout, "stage", "gan-train", SCOPEFORMER_PROCESSES="2")
    assert "2 ranks" in done.stdout and "resuming at" in done.stdout
    ranks = [p.name for p in checkout.glob("work/gan-train/*/state-000000000320/rank-*.pt")]
    assert sorted(ranks) == ["rank-0.pt", "rank-1.pt"]
    assert '"ranks": 2' in (checkout / "artifacts/provenance/gan-train.json").read_text()
    forget(checkout)


def test_a_users_own_launch_on_two_machines_gives_what_one_process_gives(checkout: Path) -> None:
    """Every weight of the head to 1e-6; they are of the order of 0.1, and move by 1e-3 in a step.

    The one process is accelerate's of `gpu-1.yaml`, whose configuration once made it launch itself without end.
    """
    weights = checkout / "artifacts/vit/vit/model.safetensors"
    one: Any = {"SCOPEFORMER_LAUNCH": "launch/gpu-1.yaml", "SCOPEFORMER_DEVICE": "cpu"}
    assert "1 ranks" in pipeline(checkout, "stage", "vit-train@vit", **one).stdout
    alone = load_file(weights)
    subprocess.run(["rm", "-rf", "work/vit-train@vit", "artifacts/vit"], cwd=checkout, check=True)
    machines = [
        start(checkout, "-m", "torch.distributed.run", *launch, "pipeline.py", "stage", "vit-train@vit", machine=node)
        for node, launch in enumerate(two_machines())
    ]
    assert [machine.wait(timeout=240) for machine in machines] == [0, 0], (checkout / "said").read_text()
    together = load_file(weights)
    assert '"ranks": 2' in (checkout / "artifacts/provenance/vit-train@vit.json").read_text()
    assert together.keys() == alone.keys()
    assert max(float((together[name] - alone[name]).abs().max()) for name in alone) < 1e-6
