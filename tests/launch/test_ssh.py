"""`ssh.sh` with a stand-in for ssh: which end of a machine ends the others, and which is waited for."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from settings.places import ROOT

SAVES = """
trap 'touch stopping; sleep 1; touch saved; exit 143' TERM
touch ready
while :; do sleep 0.02; done
"""


def start(place: Path, ssh: str, *words: str) -> subprocess.Popen[bytes]:
    """The command on two machines, of which the second is what `ssh` does."""
    path = place / "bin/ssh"
    path.parent.mkdir()
    path.write_text(f"#!/bin/bash\n{ssh}\n")
    path.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}",
        "HOSTS": "node-0 node-1",
    }
    return subprocess.Popen(["bash", str(ROOT / "launch/ssh.sh"), *words], cwd=place, env=environment)


@pytest.mark.parametrize("status", [1, 137, 255])  # of the command, of one that was killed, of ssh itself
def test_a_machine_that_fails_first_ends_the_other_at_once(status: int, tmp_path: Path) -> None:
    launched = start(tmp_path, f"exit {status}", "sleep", "300")
    assert launched.wait(timeout=60) == status


def test_after_a_signal_machine_0_is_waited_for_although_a_connection_breaks(tmp_path: Path) -> None:
    broken = "while [ ! -f stopping ]; do sleep 0.02; done; exit 255"
    launched = start(tmp_path, broken, "bash", "-c", SAVES)
    while not (tmp_path / "ready").exists():
        assert launched.poll() is None
        time.sleep(0.02)
    launched.send_signal(signal.SIGTERM)
    assert launched.wait(timeout=60) == 143
    assert (tmp_path / "saved").exists()
