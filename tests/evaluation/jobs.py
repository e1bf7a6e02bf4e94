"""A stage's Job over a temporary checkout, without DVC."""

from pathlib import Path
from typing import Any

import pytest

from settings.places import Local
from stages import run
from stages.run import Job


def make_job(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    parameters: dict[str, Any],
    inputs: list[str],
    outs: list[str],
) -> Job:
    """A job that reads and writes below `root`; its outs are opened as `stages.run.prepare` opens them."""
    monkeypatch.setattr(run, "ROOT", root)
    job = Job(name, parameters, root / "work", Local(device="cpu"), frozenset(inputs), frozenset(outs))
    job.work.mkdir(parents=True)
    for out in outs:
        job.out(out).mkdir(parents=True)
    return job
