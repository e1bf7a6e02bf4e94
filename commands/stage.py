"""`pipeline.py stage X`: one stage at a time, in this process or under the launcher that `local.yaml` names.

DVC's `cmd` is the same call. Processes for CPU ranks are started by torchrun (`accelerate launch --cpu` silently
starts one), for GPUs by accelerate.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from commands.declared import declared
from settings.errors import TrainingFailed, WrongEnvironment
from settings.places import ROOT, Local, load_local, main_checkout, work_root
from stages import run

PREPARED = "SCOPEFORMER_PREPARED"  # set for ranks that this command launched: the file that says what to do
RANKS = "SCOPEFORMER_RANKS"


def run_stage(name: str, adopt: str | None = None) -> None:
    """Run one stage to its end; its outs and provenance are in place when this returns."""
    if path := os.environ.get(PREPARED):
        run.work(run.from_json(Path(path).read_text()))
        return
    if "RANK" in os.environ:
        _run_as_users_rank(name, adopt)
        return
    declaration = declared(name)
    local = load_local()
    with hold_lock(name):
        _end_with_dvc()
        prepared = _prepare(name, declaration, adopt)
        if declaration["ranks"] and (local.launch.processes > 1 or local.launch.config):
            _launch(prepared, local)
        else:
            run.work(prepared)
        run.finish(prepared, declaration["params"])
    if not _dvc_above():
        print(f"{name}: done. To let DVC know without running it again: dvc commit -f {name}")


def _prepare(name: str, declaration: dict[str, Any], adopt: str | None) -> run.Prepared:
    keys = ("module", "deps", "code", "params", "outs")
    prepared = run.prepare(name, *(declaration[key] for key in keys))
    if adopt:
        run.adopt(prepared, adopt)
    return prepared


def _run_as_users_rank(name: str, adopt: str | None) -> None:
    """Under the user's own `accelerate launch pipeline.py stage X`: rank 0 prepares and records, all work."""
    launch = f"{os.environ.get('MASTER_ADDR')}-{os.environ.get('MASTER_PORT')}"
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        launch += f"-{os.getppid()}"  # on one machine all ranks have one launcher
    meeting = work_root() / name / f"prepared-{launch}.json"
    if os.environ["RANK"] == "0":
        declaration = declared(name)
        with hold_lock(name):
            prepared = _prepare(name, declaration, adopt)
            part = meeting.with_suffix(".part")
            part.write_text(run.to_json(prepared))
            part.replace(meeting)
            try:
                run.work(prepared)
            finally:
                meeting.unlink(missing_ok=True)
            run.finish(prepared, declaration["params"])
        return
    patience = time.monotonic() + 1800  # rank 0 may have to hash a large corpus
    while not meeting.exists():
        if time.monotonic() > patience:
            raise WrongEnvironment(f"{name}: rank 0 did not prepare the stage within 30 minutes; see its output")
        time.sleep(0.2)
    run.work(run.from_json(meeting.read_text()))


def _launch(prepared: run.Prepared, local: Local) -> None:
    """Start the ranks and wait for them; SIGTERM and SIGINT are passed on, so that they save."""
    order = prepared.folder / "prepared.json"
    order.write_text(run.to_json(prepared))
    environment = {**os.environ, PREPARED: str(order)}
    command = [str(ROOT / "pipeline.py"), "stage", prepared.name]
    if config := local.launch.config:
        place = config if config.is_absolute() else main_checkout() / config
        if not place.exists():
            raise WrongEnvironment(f"launch.config: {place} does not exist; mend local.yaml")
        if local.launch.processes > 1:
            environment[RANKS] = str(local.launch.processes)
        command = ["accelerate.commands.launch", "--config_file", str(place), *command]
    else:
        environment[RANKS] = str(local.launch.processes)
        command = ["torch.distributed.run", "--standalone", f"--nproc_per_node={local.launch.processes}", *command]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment["OMP_NUM_THREADS"] = str(max(1, cores // local.launch.processes))
    child = subprocess.Popen([sys.executable, "-m", *command], env=environment, cwd=ROOT, preexec_fn=_die_with_parent)

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    old = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        status = child.wait()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if status:
        raise TrainingFailed(
            f"{prepared.name}: a rank ended with status {status}; its error is above, run it again to resume"
        )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: the launcher ends its ranks


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
        while dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
