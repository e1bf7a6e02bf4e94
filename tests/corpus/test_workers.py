import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from corpus import workers as workers_module
from corpus.workers import ahead, alone, fitting, free_memory, pool
from settings import memory
from settings.errors import WrongEnvironment
from settings.places import ROOT


def test_results_are_complete_with_any_number_of_workers() -> None:
    for workers in (1, 2):
        with pool(workers) as run:
            assert sorted(run(abs, [-3, 1, -2])) == [1, 2, 3]


def test_a_workers_error_is_the_callers() -> None:
    with pool(2) as run, pytest.raises(ValueError, match="invalid literal"):
        list(run(int, ["1", "x"]))


def test_a_killed_worker_is_said_in_one_line() -> None:
    with pytest.raises(WrongEnvironment, match="memory; lower `workers`"), pool(2) as run:
        list(run(os._exit, [9, 9]))


def test_what_runs_alone_has_a_process_of_its_own_unless_there_is_one_worker() -> None:
    assert alone(1, os.getpid) == os.getpid() != alone(2, os.getpid)
    with pytest.raises(ValueError, match="invalid literal"):
        alone(2, int, "x")
    with pytest.raises(WrongEnvironment, match="that ran _exit was killed"):
        alone(2, os._exit, 9)


def test_workers_end_when_their_parent_is_killed() -> None:
    code = "import time; from corpus.workers import pool\nwith pool(2) as run: list(run(time.sleep, [0, 0, 60, 60]))"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        children: list[psutil.Process] = []
        while len(children) < 4 and time.monotonic() < deadline:  # resource tracker, fork server, two workers
            time.sleep(0.1)
            children = psutil.Process(parent.pid).children(recursive=True)
        time.sleep(1)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert len(children) == 4
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_the_memory_of_workers_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are children of the fork server: the system does not tell this process of them."""
    monkeypatch.setattr(memory, "_of_workers", [0])
    monkeypatch.setattr(memory, "_bytes", lambda whose: 1)  # of this process and its children
    with pool(2) as run:
        assert sorted(run(len, [b"", b"x"])) == [0, 1]
        before = memory.largest_peak()
        assert list(run(eval, ["len(bytearray(b'x') * 300_000_000)"])) == [300_000_000]
    assert 5e6 < before < memory.largest_peak() - 250e6


def test_tasks_are_taken_as_workers_become_free() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(40):
            taken.append(n)
            yield n

    with pool(2) as run:
        results = run(abs, tasks())
        first = [next(results)]
        assert len(taken) < 10
        assert sorted([*first, *results]) == list(range(40))


def test_reading_ahead_keeps_the_order_and_overlaps_waiting() -> None:
    def wait(n: int) -> int:
        time.sleep(0.05)
        return -n

    started = time.monotonic()
    assert list(ahead(wait, range(20))) == [-n for n in range(20)]
    assert time.monotonic() - started < 0.6  # a second, one after the other
    started_with: list[int] = []

    def note(n: int) -> int:
        started_with.append(n)
        return n

    results = ahead(note, range(100))
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started_with) <= 9
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda n: 1 // n, [1, 0]))


def test_workers_are_as_many_as_the_memory_carries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitting(3, 1) == 3 and capsys.readouterr().out == ""
    for name, text in {
        "max": "3000000000",
        "current": "2000000000",
        "stat": "file 7\ninactive_file 500000000\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(workers_module, "CGROUP", tmp_path)
    assert free_memory() == 1_500_000_000
    assert fitting(4, 700_000_000) == 2
    assert "2 of 4 workers: each needs 0.7 GB of memory, 1.5 GB are free" in capsys.readouterr().out
    assert fitting(4, 10**12) == 1
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 1_500_000_000 or psutil.virtual_memory().available < 1_600_000_000
