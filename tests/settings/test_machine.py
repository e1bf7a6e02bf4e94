import os
import shutil
import signal
import subprocess

import pytest

from settings.machine import on_signals, processor_name


def test_the_processor_is_called_as_lscpu_calls_it() -> None:
    if not shutil.which("lscpu"):
        pytest.skip("no lscpu")
    said = subprocess.run(
        ["lscpu"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    assert processor_name() and (processor_name() in said or "Model name" not in said)


def test_signals_are_handled_inside_and_as_before_outside() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    seen: list[int] = []
    with pytest.raises(KeyError), on_signals(signal.SIGUSR1, signal.SIGUSR2, call=lambda n, _: seen.append(n)):
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        raise KeyError
    assert seen == [signal.SIGUSR2, signal.SIGUSR1]
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)] == before
