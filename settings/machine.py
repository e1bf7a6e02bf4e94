"""What this machine is called, and what is done when it signals a process."""

import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


def processor_name() -> str:
    """The processor as its maker calls it, where the system says so; else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


@contextmanager
def on_signals(*numbers: int, call: Callable[[int, FrameType | None], None]) -> Iterator[dict[int, Any]]:
    """Signals call `call` inside. Main thread only.

    Yields, by number, what they do afterwards: what they did before, unless the block says otherwise there.
    """
    afterwards: dict[int, Any] = {number: signal.signal(number, call) for number in numbers}
    try:
        yield afterwards
    finally:
        for number, handler in afterwards.items():
            signal.signal(number, handler)
