import os
import signal

import pytest

from settings.errors import on_signals


def test_signals_are_handled_inside_and_as_before_outside() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    seen: list[int] = []
    with pytest.raises(KeyError), on_signals(signal.SIGUSR1, signal.SIGUSR2, call=lambda n, _: seen.append(n)):
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        raise KeyError
    assert seen == [signal.SIGUSR2, signal.SIGUSR1]
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)] == before
