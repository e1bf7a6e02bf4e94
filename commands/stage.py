"""`pipeline.py stage X`: one stage at a time, in this process or on the ranks that `local.yaml: launch` names.

DVC's `cmd` is the same call, and so is a user's own `torchrun … pipeline.py stage X` or `accelerate launch …`.
"""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from commands import rank
from commands.declared import declared
from commands.launch import Plan, launch, read_plan, start_as_machine
from settings.errors import Interrupted, WrongEnvironment
from settings.machine import on_signals
from settings.places import load_local, work_root
from stages import run


def run_stage(name: str, adopt: str | None = None) -> None:
    """Run one stage to its end; its outs and provenance are in place when this returns."""
    rank.check_launcher()
    order = os.environ.get(rank.ORDER)
    if "RANK" in os.environ:
        rank.end_with_parent()
        _run_as_rank(name, adopt, Path(order) if order else None)
    elif order:  # of `launch`: this is one of several machines, or a rank that nobody gave a number
        start_as_machine(Path(order))
    else:
        _run_alone(name, adopt)


def _run_alone(name: str, adopt: str | None) -> None:
    """The whole stage, its ranks launched where it has any."""
    declaration = declared(name)
    local = load_local()
    with hold_lock(name), _interruptible(name):
        _end_with_dvc()
        plan = read_plan(local) if declaration["ranks"] or declaration["shares"] else Plan(1)
        prepared = _prepare(name, declaration, adopt)
        shared = declaration["shares"] and plan.machines > 1
        if (declaration["ranks"] and plan.is_launch and not rank.is_accelerate()) or shared:
            launch(prepared, local, plan, one_each=shared)
        else:
            run.work(prepared)
        run.finish(prepared, declaration["params"])
    if not _dvc_above():
        print(f"{name}: done. To let DVC know without running it again: dvc commit -f {name}")


def _run_as_rank(name: str, adopt: str | None, order: Path | None) -> None:
    """One of the ranks, ours or of the user's own launch; in the latter rank 0 prepares and records."""
    if order:
        rank.work_as_rank(run.Prepared(**json.loads(order.read_text())["stage"]))
        return
    with rank.error_once_a_machine():
        declaration = declared(name)
        if not declaration["ranks"]:
            _run_share(name, declaration, adopt)
            return
    if os.environ["RANK"] != "0":
        rank.work_as_rank(rank.receive())
        return
    with hold_lock(name), _interruptible(name):
        prepared = _prepare(name, declaration, adopt)
        rank.forget_failure(prepared.folder)
        rank.hand_over(prepared)
        with rank.error_once(prepared.folder), _interruptible(name):  # asks although another rank may say why it ends
            run.work(prepared)
        run.finish(prepared, declaration["params"])


def _run_share(name: str, declaration: dict[str, Any], adopt: str | None) -> None:
    """One of the processes that meet in `work/` alone, such as an array's tasks; rank 0 records."""
    if not declaration["shares"] and os.environ.get("WORLD_SIZE") != "1":
        raise WrongEnvironment(f"{name} runs in one process; start it without torchrun, accelerate or RANK")
    if os.environ["RANK"] != "0":
        run.work(_prepare(name, declaration, adopt, clear=False))
        return
    with hold_lock(name), _interruptible(name):
        prepared = _prepare(name, declaration, adopt)
        run.work(prepared)
        run.finish(prepared, declaration["params"])


def _prepare(name: str, declaration: dict[str, Any], adopt: str | None, clear: bool = True) -> run.Prepared:
    keys = ("module", "deps", "code", "params", "outs")
    prepared = run.prepare(name, **{key: declaration[key] for key in keys}, clear=clear)
    if adopt:
        run.adopt(prepared, adopt)
    return prepared


@contextmanager
def _interruptible(name: str) -> Iterator[None]:
    """SIGTERM (a scheduler's pre-emption) ends the stage wherever it is, and asks for it to be run again.

    `work/<stage>/requeue` is there from then until the stage starts again; it holds the number of the SLURM job, if it
    is one. A training takes the signal itself: it saves first. Under the stage's lock only.
    """
    asks = work_root() / name / "requeue"
    asks.unlink(missing_ok=True)

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once; it is ending
        raise Interrupted(f"{name}: stopped by a signal; what was done is kept: run it again to go on")

    with on_signals(signal.SIGTERM, call=on_signal):
        try:
            yield
        except Interrupted:
            asks.write_text(f"{os.environ.get('SLURM_JOB_ID', '')}\n")
            raise


@contextmanager
def hold_lock(name: str) -> Iterator[None]:
    """Hold `work/<stage>/lock`; WrongEnvironment names the process that holds it. A dead holder holds nothing."""
    path = work_root() / name / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise WrongEnvironment(f"{name} is being run by process {holder}; wait for it or end it") from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _dvc_above() -> psutil.Process | None:
    """The `dvc` process that started this one, if any (DVC names the stage in the environment)."""
    if "DVC_STAGE" not in os.environ:
        return None
    for parent in psutil.Process().parents():
        try:
            words = parent.cmdline()[:4]
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if any(Path(word).name == "dvc" for word in words):
            return parent
    return None


def _end_with_dvc() -> None:
    """End this process when the DVC that started it is gone: after `kill -9` of `dvc repro` it would live on."""
    dvc = _dvc_above()
    if dvc is None:
        return

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):  # it ended between the two questions
            while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
