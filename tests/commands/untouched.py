"""Commands that look at artifacts may write into none: it may be a hard link into DVC's cache."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def state(*folders: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and SHA-256 of every file. Modes alone protect nothing from the superuser."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def untouched(*folders: Path) -> Iterator[None]:
    """Fails where a file in these folders was changed, touched, added or removed meanwhile."""
    before = state(*folders)
    assert before
    yield
    assert state(*folders) == before
