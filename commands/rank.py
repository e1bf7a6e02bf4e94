"""What one rank of a stage does, whoever launched it: learn what to do from rank 0, work, say an error once."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from settings.errors import Interrupted, PipelineError, TrainingFailed, WrongEnvironment
from stages import run

ORDER = "SCOPEFORMER_ORDER"  # set by `launch`: the file that says what to do
KEY = "scopeformer/prepared"
PATIENCE = timedelta(minutes=60)  # rank 0 may have to hash a large corpus
GRACE = 3.0  # seconds in which the launcher ends the ranks whose peer died


def check_launcher() -> None:
    """WrongEnvironment where `accelerate launch` was asked for several processes and started this one alone.

    It does so for CPU ranks without MPI, and says nothing.
    """
    if "RANK" not in os.environ and is_accelerate() and "MASTER_PORT" in os.environ:
        raise WrongEnvironment(
            "accelerate launch was asked for several processes and started one: CPU ranks need MPI there; "
            "use `torchrun --nproc_per_node N pipeline.py stage …`, or `launch` in local.yaml"
        )


def is_accelerate() -> bool:
    """Whether `accelerate launch` started this process."""
    return "ACCELERATE_MIXED_PRECISION" in os.environ


def end_with_parent() -> None:
    """Have SIGTERM when who started this process is gone (after its `kill -9`), so that a training saves and ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def hand_over(prepared: run.Prepared) -> None:
    """Rank 0: tell the others, through the launcher's store, what was prepared."""
    _store().set(KEY, run.to_json(prepared))


def receive() -> run.Prepared:
    """Another rank: wait for what rank 0 prepared."""
    return run.from_json(_store().get(KEY).decode())


def work_as_rank(prepared: run.Prepared) -> None:
    """The stage's work; of all ranks that fail, one alone says why."""
    with error_once(prepared.folder):
        run.work(prepared)


@contextmanager
def error_once(folder: Path) -> Iterator[None]:
    """Of all processes of a launch that fail in here, the first alone reports it: the others end without a word.

    Under `launch` an error meant for the user is left in a file, and the process that launched says it.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        expected = isinstance(error, PipelineError)
        # A rank finds a broken connection where another died. If that was of an error, the other claims first; if it
        # was killed, the launcher ends this one meanwhile, and says which died.
        if not expected:
            time.sleep(GRACE)
        if claim(folder, error) and not (expected and ORDER in os.environ):
            raise
        sys.exit(getattr(error, "exit_status", 1))


@contextmanager
def error_once_a_machine() -> Iterator[None]:
    """For ranks that share no folder yet: of a launcher's, the first says an error, and the launcher ends the others.

    A rank that is not ended had an error alone, and says it. Tasks of an array, which no launcher ends, say their own.
    """
    try:
        yield
    except PipelineError:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(GRACE)
        raise


def forget_failure(folder: Path) -> None:
    """Before ranks start: none has failed."""
    (folder / "failed.json").unlink(missing_ok=True)


def claim(folder: Path, error: Exception) -> bool:
    """Note a failure; False where another process was first."""
    content = {"message": "", "status": 1}  # not meant for the user: its traceback is shown
    if isinstance(error, PipelineError):
        content = {"message": str(error), "status": error.exit_status}
    part = folder / f"failed-{os.environ.get('RANK', '')}-{os.getpid()}.part"
    part.write_text(json.dumps(content))
    try:
        os.link(part, folder / "failed.json")  # fails where it exists, on shared file systems too
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True


def reported(stage: str, folder: Path) -> PipelineError | None:
    """The failure that was noted first, to be raised by the process that launched."""
    try:
        content = json.loads((folder / "failed.json").read_text())
    except FileNotFoundError:
        return None
    kinds = {kind.exit_status: kind for kind in (WrongEnvironment, TrainingFailed, Interrupted)}
    message = content["message"] or f"{stage}: a rank failed, its error is above; run it again to resume"
    return kinds[content["status"]](message)


def _store() -> Any:
    """The launcher's key-value store, which torch.distributed will use as well."""
    from torch.distributed.rendezvous import rendezvous

    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        raise WrongEnvironment(
            "RANK is set, MASTER_ADDR and MASTER_PORT are not: start ranks by torchrun or accelerate"
        )
    store = next(rendezvous("env://", timeout=PATIENCE))[0]
    store.set_timeout(PATIENCE)
    return store
