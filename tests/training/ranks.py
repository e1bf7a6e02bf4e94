"""A script run as two gloo ranks, as the launcher runs a stage."""

import os
import subprocess
import sys
from pathlib import Path

from settings.places import ROOT


def run_two_ranks(script: str, folder: Path) -> None:
    """Run `script` under torchrun on two CPU ranks with `folder` as its argument; its errors are in the failure."""
    path = folder / "ranks.py"
    path.write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(path), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
