"""What this machine is called."""

import platform
from pathlib import Path


def processor_name() -> str:
    """The processor as its maker calls it, where the system says so; else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()
