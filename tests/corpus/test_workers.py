import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from corpus.workers import pool
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
