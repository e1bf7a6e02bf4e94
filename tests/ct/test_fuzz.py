import json
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).with_name("fuzz.py")
COUNT = 1500


def test_damaged_files_give_slices_or_reasons_in_bounded_time_and_memory() -> None:
    """In a process of its own: a codec that writes where it must not would take the tests with it."""
    command = [sys.executable, str(FUZZ), "0", str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"mutation {lines[-1:]}: exit {done.returncode}\n{done.stderr[-2000:]}"
    found = json.loads(lines[-1])
    assert sum(found.values()) == COUNT
    # Not all are refused at the door, nor all read.
    assert found["slice"] > COUNT / 20 and found["damaged"] > COUNT / 20 and len(found) > 10
