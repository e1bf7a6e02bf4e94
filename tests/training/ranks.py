"""A script run as two gloo ranks, as the launcher runs a stage: on one machine, or on two that are this one twice."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from settings.places import ROOT


def run_two_ranks(script: str, folder: Path, machines: int = 1) -> None:
    """Run `script` under torchrun on two CPU ranks with `folder` as its argument; its errors are in the failure."""
    path = folder / "ranks.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launches = [["--standalone", "--nproc_per_node=2"]] if machines == 1 else two_machines()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *launch, str(path), str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=on_own_core(node) if machines > 1 else None,
        )
        for node, launch in enumerate(launches)
    ]
    try:
        said = [machine.communicate(timeout=240)[0] for machine in started]
    finally:
        for machine in started:
            machine.kill()
    assert not any(machine.returncode for machine in started), "\n".join(said)


def two_machines() -> list[list[str]]:
    """torchrun's arguments on each of two machines with one rank, which meet on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = ["--master_addr=127.0.0.1", f"--master_port={free.getsockname()[1]}"]
    return [["--nnodes=2", f"--node_rank={node}", *meeting, "--nproc_per_node=1"] for node in range(2)]


def on_own_core(machine: int) -> Callable[[], None]:
    """Gives a process a core of its own: each of two machines would else take all of this one's."""
    cores = sorted(os.sched_getaffinity(0))
    return partial(os.sched_setaffinity, 0, {cores[machine % len(cores)]})
