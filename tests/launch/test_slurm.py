"""The SLURM scripts, with stand-ins for SLURM, DVC and Python: what is queued again, and what is not."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from settings.places import ROOT


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout's folder in which another job's stage has asked to be run again."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for stage in ("gan-train", "prepare-ct", "of-another-job"):
        (tmp_path / "work" / stage).mkdir(parents=True)
    (tmp_path / "work/of-another-job/requeue").write_text("8\n")
    program(tmp_path, "scontrol", '#!/bin/bash\necho "$@" >> queued\n')
    program(tmp_path, "sleep", "#!/bin/bash\n")
    return tmp_path


def program(place: Path, name: str, text: str) -> None:
    path = place / ".venv/bin" / name
    path.write_text(text)
    path.chmod(0o755)


def queued(place: Path, script: str, *words: str, stop: bool) -> str:
    """What the script of job 7, task 2 of array 5, tells `scontrol`; SIGTERM comes when its work has begun."""
    environment = {**os.environ, "SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    job = subprocess.Popen(["bash", str(ROOT / "launch/slurm" / script), *words], cwd=place, env=environment)
    while stop and not (place / "ready").exists():
        assert job.poll() is None
        time.sleep(0.02)
    if stop:
        job.send_signal(signal.SIGTERM)
    job.wait(timeout=30)
    told = place / "queued"
    return told.read_text() if told.exists() else ""


def working(answer: str) -> str:
    """A program that works until SIGTERM, and answers it so."""
    return f"#!/bin/bash\ntrap '{answer}' TERM\ntouch ready\nwhile :; do read -t 0.02 <> <(:); done\n"


SAVED = "echo 7 > work/gan-train/requeue; exit 143"


@pytest.mark.parametrize(("answer", "told"), [(SAVED, "requeue 7\n"), ("exit 1", "")])
def test_a_stage_is_queued_again_when_it_asks(answer: str, told: str, place: Path) -> None:
    program(place, "python", working(answer))
    assert queued(place, "stage.sbatch", "gan-train", stop=True) == told


@pytest.mark.parametrize("answer", ["exit 143", "exit 1", "exit 0"])
def test_a_task_is_queued_again_by_itself(answer: str, place: Path) -> None:
    program(place, "python", working(answer))
    assert queued(place, "prepare.sbatch", stop=True) == ("requeue 5_2\n" if answer == "exit 143" else "")


def test_a_graph_is_queued_again_for_a_stage_of_its_own(place: Path) -> None:
    """DVC ignores the signal; the stage that it runs listens to it."""
    (place / "stage").write_text(working(SAVED))
    program(place, "dvc", "#!/bin/bash\nenv --default-signal=TERM bash ./stage || exit 255\n")
    assert queued(place, "graph.sbatch", stop=True) == "requeue 7\n"
    assert (place / "work/of-another-job/requeue").exists()


def test_a_graph_that_fails_is_not_queued_again_for_the_stage_of_another_job(place: Path) -> None:
    program(place, "dvc", "#!/bin/bash\nexit 255\n")
    assert queued(place, "graph.sbatch", stop=False) == ""
    (place / "stage").write_text(working("exit 1"))
    program(place, "dvc", "#!/bin/bash\nenv --default-signal=TERM bash ./stage || exit 255\n")
    assert queued(place, "graph.sbatch", stop=True) == ""
