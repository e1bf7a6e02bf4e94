"""Ranks of a stand-in for a stage, started as a real one's are: who says what when they end badly, and how soon."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

from commands import launch as launching
from commands.launch import Plan, launch, read_plan
from commands.rank import check_launcher, claim, reported
from commands.stage import run_stage
from settings.errors import BadInput, BadParameter, Interrupted, PipelineError, TrainingFailed, WrongEnvironment
from settings.places import ROOT, Launch, Local, load_local
from stages import run

STAGE = """
import os, signal, time
from pathlib import Path
from settings.errors import BadInput, Interrupted

def run(job):
    rank, what = os.environ["RANK"], os.environ["STAND_IN"]
    (job.work / f"rank-{rank}").write_text(" ".join(os.environ.get(n, "") for n in ("WORLD_SIZE", "SCOPEFORMER_RANKS")))
    if what == "all refuse":
        raise BadInput("raw.ct: /nowhere does not exist")
    if what == "one fails" and rank == "1":
        raise ValueError("of rank 1")
    if what == "one is killed" and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "stopped":
        asked = []
        signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
        (job.work / f"ready-{rank}").touch()
        while not asked:
            time.sleep(0.05)
        (job.work / f"saved-{rank}").touch()
        raise Interrupted("stand-in: stopped at 8 of 16 images")
    if what in ("one fails", "one is killed"):
        time.sleep(100)
"""
DECLARED = """
from settings.errors import BadParameter

def declared(name):
    if name != "stand-in":
        raise BadParameter(f"there is no stage '{name}'")
    return {
        "module": "stages/stand_in.py", "deps": [], "code": CODE, "params": ["seed"], "outs": [],
        "ranks": True, "shares": False,
    }
"""
LAUNCHER = """
import json, sys
from commands.launch import Plan, launch
from settings.places import Launch, Local
from stages import run
launch(run.from_json(sys.argv[1]), Local(launch=Launch(command=sys.argv[2])), Plan(2, machines=2), False)
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> run.Prepared:
    """A checkout that holds what a rank needs, and the stand-in prepared in it."""
    for room in ("commands", "stages", "settings", "corpus"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pipeline.py", tmp_path)
    (tmp_path / "stages/stand_in.py").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    for module in (run, launching):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(run, "work_root", lambda: tmp_path / "work")
    for name in ("RANK", "WORLD_SIZE", "SCOPEFORMER_ORDER", "SCOPEFORMER_RANKS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that what the launch sets is taken back
        monkeypatch.delenv(name)
    code = [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*.py")]
    return run.prepare("stand-in", "stages/stand_in.py", [], code, ["seed"], [])


def fails(stage: run.Prepared, what: str, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> PipelineError:
    monkeypatch.setenv("STAND_IN", what)
    started = time.monotonic()
    with pytest.raises(PipelineError) as error:
        launch(stage, Local(), plan, one_each=False)
    assert time.monotonic() - started < 60
    return error.value


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_an_error_of_all_ranks_is_said_once(
    stage: run.Prepared, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = fails(stage, "all refuse", Plan(2), monkeypatch)
    assert str(error) == "raw.ct: /nowhere does not exist" and error.exit_status == 2
    assert capfd.readouterr().err == ""
    assert (stage.folder / "rank-1").read_text() == "2 2"


def test_a_defect_of_one_rank_ends_all_and_has_one_traceback(
    stage: run.Prepared, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = fails(stage, "one fails", Plan(2), monkeypatch)
    assert isinstance(error, TrainingFailed) and "its error is above" in str(error)
    said = capfd.readouterr().err
    assert said.count("Traceback") == 1 and said.count("ValueError: of rank 1") == 1


def test_a_killed_rank_is_named(
    stage: run.Prepared, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "rank 1 was ended by SIGKILL" in str(fails(stage, "one is killed", Plan(2), monkeypatch))
    assert capfd.readouterr().err == ""


def test_a_signal_goes_to_every_rank_and_is_waited_for(stage: run.Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def preempt() -> None:
        while len(list(stage.folder.glob("ready-*"))) < 2:
            time.sleep(0.05)
        for _ in range(2):  # a scheduler and its job step
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=preempt, daemon=True).start()
    error = fails(stage, "stopped", Plan(2), monkeypatch)
    assert isinstance(error, Interrupted) and "stopped at 8 of 16 images" in str(error)
    assert len(list(stage.folder.glob("saved-*"))) == 2


def test_after_a_signal_an_error_is_said_and_a_death_of_the_signal_is_not(stage: run.Prepared) -> None:
    with pytest.raises(Interrupted, match="stopped by a signal"):
        launching._raise_failure(stage, stopped=True, failed=True)
    claim(stage.folder, BadInput("raw.ct: /nowhere does not exist"))
    with pytest.raises(WrongEnvironment, match="nowhere"):
        launching._raise_failure(stage, stopped=True, failed=True)


def test_accelerates_one_process_is_a_rank(stage: run.Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "nothing")
    launch(stage, Local(), read_plan(Local(launch=Launch(config=ROOT / "launch/gpu-1.yaml"))), one_each=False)
    assert {path.name: path.read_text() for path in stage.folder.glob("rank-*")} == {"rank-0": "1 1"}


def test_a_launched_process_does_not_launch(stage: run.Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accelerate starts without a RANK, as it does where a configuration of several says no MULTI_GPU."""
    order = stage.folder / "order.json"
    plan = Plan(2, config="two.yaml", cpu=False)
    order.write_text(json.dumps({"stage": asdict(stage), "plan": asdict(plan), "one_each": False}))
    monkeypatch.setenv("SCOPEFORMER_ORDER", str(order))
    monkeypatch.setenv("SCOPEFORMER_RANKS", "2")
    monkeypatch.setattr(launching, "_run_ranks", lambda _: pytest.fail("it launched"))
    with pytest.raises(SystemExit) as end:
        run_stage(stage.name)
    assert end.value.code == 2
    assert "two.yaml: one process of 2 ranks was started without a RANK" in str(reported(stage.name, stage.folder))


def test_a_killed_rank_of_another_machine_ends_both(
    stage: run.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By `ssh.sh`, with a stand-in for ssh; rank 0, on machine 0, would go on for long."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/bash\nexec bash -c "${@: -1}"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    command = f"env HOSTS='node-0 node-1' bash {ROOT / 'launch/ssh.sh'}"
    monkeypatch.setenv("STAND_IN", "one is killed")
    started = time.monotonic()
    with pytest.raises(TrainingFailed, match="rank 1 was ended by SIGKILL"):
        launch(stage, Local(launch=Launch(command=command)), replace(Plan(2, machines=2), port=free_port()), False)
    assert time.monotonic() - started < 60
    assert not [line for line in capfd.readouterr().err.splitlines() if "error:" in line or "Traceback" in line]
    mine = psutil.Process().children(recursive=True)
    assert not [child for child in mine if str(tmp_path) in " ".join(child.cmdline())]


@pytest.mark.parametrize("one_each", [True, False])
def test_a_command_starts_each_machines_part(
    one_each: bool, stage: run.Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "nothing")
    both = tmp_path / "on-both.sh"
    both.write_text('SCOPEFORMER_NODE=0 "$@" & SCOPEFORMER_NODE=1 "$@"; wait $!\n')
    plan = replace(Plan(4, machines=2), port=free_port())
    launch(stage, Local(launch=Launch(command=f"bash {both}")), plan, one_each)
    ranks = {path.name: path.read_text() for path in stage.folder.glob("rank-*")}
    assert ranks == ({f"rank-{k}": "2 " for k in range(2)} if one_each else {f"rank-{k}": "4 4" for k in range(4)})


def test_kill_9_of_the_launcher_is_sigterm_to_what_it_started(stage: run.Prepared, tmp_path: Path) -> None:
    """As `srun` and `ssh.sh` are started, which pass it on."""
    (tmp_path / "starts.sh").write_text("trap 'touch told; exit' TERM\ntouch ready\nwhile :; do sleep 0.02; done\n")
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, run.to_json(stage), "bash starts.sh"], cwd=tmp_path)
    wait_for(tmp_path / "ready")
    launcher.kill()
    launcher.wait()
    wait_for(tmp_path / "told")


def wait_for(path: Path) -> None:
    patience = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < patience
        time.sleep(0.02)


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = ("accelerate.commands.launch", "--config_file", str(ROOT / "launch/gpu-8.yaml"), "--num_processes=2")


def by_hand(stage: run.Prepared, launcher: tuple[str, ...], name: str, what: str) -> subprocess.CompletedProcess[str]:
    """A user's own `torchrun … pipeline.py stage NAME`."""
    where = stage.folder.parent.parent.parent
    (where / "commands/declared.py").write_text(DECLARED.replace("CODE", repr(list(stage.code))))
    command = [sys.executable, "-m", *launcher, "pipeline.py", "stage", name]
    environment = {**os.environ, "STAND_IN": what, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_a_users_own_launch_works_in_two_ranks_and_records_once(
    launcher: tuple[str, ...], stage: run.Prepared, tmp_path: Path
) -> None:
    done = by_hand(stage, launcher, "stand-in", "nothing")
    assert done.returncode == 0, done.stderr
    ranks = {path.name: path.read_text() for path in tmp_path.glob("work/stand-in/*/rank-*")}
    assert ranks == {"rank-0": "2 ", "rank-1": "2 "}
    assert (tmp_path / "artifacts/provenance/stand-in.json").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("stand-in", "error: raw.ct: /nowhere does not exist"), ("stand-out", "error: there is no stage 'stand-out'")],
)
def test_an_error_of_a_users_own_ranks_is_said_once(name: str, said: str, stage: run.Prepared) -> None:
    done = by_hand(stage, TORCHRUN, name, "all refuse")
    assert done.returncode and done.stderr.count(said) == done.stderr.count("error: ") == 1, done.stderr


CONFIGURATIONS = {  # ranks, machines
    "one": (1, 1), "cpu-2": (2, 1), "gpu-1": (1, 1), "gpu-8": (8, 1), "nodes-2x8": (16, 2), "nodes-2-cpu": (2, 2),
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_and_the_launch_read_a_configuration_alike(path: Path) -> None:
    theirs = load_config_from_file(str(path))
    assert isinstance(theirs, ClusterConfig)
    ours = read_plan(Local(launch=Launch(config=path, command="srun", address="node-0")))
    assert (ours.ranks, ours.machines) == CONFIGURATIONS[path.stem] == (theirs.num_processes, theirs.num_machines)
    assert ours.cpu == theirs.use_cpu == ("gpu" not in path.stem and path.stem != "nodes-2x8")
    assert ours.address == "node-0"


def test_the_guides_local_yaml_can_be_copied(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/guide.md").read_text(encoding="utf-8"), re.S)
    assert block
    (tmp_path / "local.yaml").write_text(block[1])
    local = load_local(tmp_path)
    assert (local.compile, read_plan(local).ranks, str(local.raw.weights)) == (None, 8, "/data/weights")
    (tmp_path / "local.yaml").write_text(
        block[1].replace("  config:", "  # config:").replace("# processes:", "processes:")
    )
    assert read_plan(load_local(tmp_path)).ranks == 2


def test_a_launch_that_cannot_be_is_refused(tmp_path: Path) -> None:
    two = tmp_path / "two.yaml"
    two.write_text("distributed_type: MULTI_GPU\nnum_machines: 2\nnum_processes: 4\n")
    with pytest.raises(WrongEnvironment, match=r"two\.yaml is of 2 machines: say in launch\.command"):
        read_plan(Local(launch=Launch(config=two)))
    with pytest.raises(BadParameter, match=r"processes: 3, but two\.yaml says num_processes: 4"):
        read_plan(Local(launch=Launch(config=two, processes=3, command="srun")))
    two.write_text(two.read_text().replace("4", "5"))
    with pytest.raises(BadParameter, match="must be a multiple"):
        read_plan(Local(launch=Launch(config=two, command="srun")))
    with pytest.raises(WrongEnvironment, match=r"none\.yaml does not exist"):
        read_plan(Local(launch=Launch(config=tmp_path / "none.yaml")))


def test_accelerates_silent_single_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `accelerate launch --cpu --num_processes 2` sets for the one process that it starts."""
    for name, value in (("ACCELERATE_MIXED_PRECISION", "no"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")):
        check_launcher()
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongEnvironment, match="asked for several processes and started one"):
        check_launcher()
    monkeypatch.setenv("RANK", "0")
    check_launcher()


def test_the_first_of_two_signals_is_passed_on_and_no_other() -> None:
    """DVC's death sends a second one, now and then before the first was passed on."""
    with launching._stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.pop() == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.seen and not stop.pop()
