"""One stage in this process, a stand-in: what its launch is, who says what, when it ends."""

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from commands import rank, stage
from settings.errors import BadInput, WrongEnvironment
from settings.machine import on_signals
from settings.places import ROOT, Launch, Local
from stages import run
from stages.run import Job


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a stage that does what is given, of several ranks (`ranks`), of shares (`shares`) or of neither."""
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    for module in (run, stage):
        monkeypatch.setattr(module, "work_root", lambda: tmp_path / "work")
    monkeypatch.setattr(run, "_loaded", set)
    monkeypatch.setattr(rank, "end_with_parent", lambda: None)  # of the tests' own process

    def start(body: Callable[[Job], None], **kind: bool) -> None:
        module = ModuleType("stages.fake")
        module.run = body  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stages.fake", module)
        declared: dict[str, Any] = {"module": "stages/fake.py", "deps": [], "code": [], "params": ["seed"], "outs": []}
        monkeypatch.setattr(stage, "declared", lambda _: {**declared, "ranks": False, "shares": False, **kind})
        stage.run_stage("fake")

    return start


@pytest.mark.parametrize("number", ["0", "1"])
def test_each_task_of_an_array_says_its_own_error(
    number: str, start: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another failed before: their logs are not one."""

    def body(job: Job) -> None:
        rank.claim(job.work, BadInput("of another task"))
        raise BadInput("raw.ct: /nowhere does not exist")

    monkeypatch.setenv("RANK", number)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="nowhere"):
        start(body, shares=True)


def test_a_stage_of_one_process_does_not_ask_for_machines(
    start: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of jobs names one configuration for all of them, and starts this stage on one node."""
    many = Local(launch=Launch(config=ROOT / "launch/nodes-2x8.yaml"))
    monkeypatch.setattr(stage, "load_local", lambda: many)
    did: list[str] = []
    start(lambda job: did.append(job.name))
    assert did == ["fake"]
    for kind in ("ranks", "shares"):
        with pytest.raises(WrongEnvironment, match=r"launch\.command"):
            start(lambda job: did.append(job.name), **{kind: True})
    assert did == ["fake"]


def test_dvc_that_ends_between_two_questions_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise psutil.NoSuchProcess(1)

    told = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        told.set()

    monkeypatch.setattr(stage, "_dvc_above", lambda: SimpleNamespace(is_running=lambda: True, status=gone))
    with on_signals(signal.SIGTERM, call=on_signal):
        stage._end_with_dvc()
        assert told.wait(timeout=60)
