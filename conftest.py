"""Tests side by side: `make test` gives each of pytest-xdist's workers a core."""

import os


def pytest_configure() -> None:
    """Pin this worker to its core before torch counts them: else each worker has as many threads as there are cores."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
