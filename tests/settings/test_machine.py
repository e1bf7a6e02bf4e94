import os
import shutil
import subprocess

import pytest

from settings.machine import processor_name


def test_the_processor_is_called_as_lscpu_calls_it() -> None:
    if not shutil.which("lscpu"):
        pytest.skip("no lscpu")
    said = subprocess.run(
        ["lscpu"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    assert processor_name() and (processor_name() in said or "Model name" not in said)
