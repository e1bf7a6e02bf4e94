"""Copies of this checkout as their own git and DVC repositories, with parameters small enough for a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from settings.places import ROOT

LEFT_OUT = (
    ".git",
    ".venv*",
    ".*_cache",
    "__pycache__",
    "artifacts",
    "work",
    "data",
    "docs",
    "benchmarks",
    "local.yaml",
    "dvc.lock",
    "tmp",
    "cache",
)
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
}


def copy_checkout(target: Path, changes: dict[str, Any]) -> Path:
    """A copy under `target` with `params.yaml` changed (dotted key → value) and `dvc.yaml` rendered."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    call(["git", "init", "-q"], target)
    call(["git", "config", "user.name", "test"], target)
    call(["git", "config", "user.email", "test@example.org"], target)
    change_params(target, changes)
    pipeline(target, "graph")
    call(["git", "add", "-A"], target)
    call(["git", "commit", "-qm", "copy"], target)
    return target


def change_params(checkout: Path, changes: dict[str, Any]) -> None:
    """Set dotted keys of `params.yaml`."""
    path = checkout / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = params
        for parent in parents:
            place = place[parent]
        place[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def call(command: list[str], where: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a checkout with this Python first on PATH; its output is in the failure."""
    done = subprocess.run(
        command, cwd=where, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def pipeline(where: Path, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python pipeline.py …` in a checkout."""
    return call([sys.executable, "pipeline.py", *words], where, check, **environment)


def dvc(where: Path, *words: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """`dvc …` in a checkout."""
    return call([sys.executable, "-m", "dvc", *words], where, check, **environment)
