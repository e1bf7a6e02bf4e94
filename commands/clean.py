"""`pipeline.py clean`: what old training state holds, and its removal on request. Nothing else removes it."""

import shutil
from pathlib import Path

from settings.places import work_root


def old_states() -> list[tuple[Path, int]]:
    """State folders of every fingerprint but each stage's newest, with their sizes in bytes."""
    found = []
    for stage in sorted(p for p in work_root().glob("*/") if p.is_dir()):
        states = sorted((p for p in stage.glob("*/") if (p / "identity.json").exists()), key=_age)
        found += [(state, _size(state)) for state in states[:-1]]
    return found


def clean(remove: bool) -> None:
    """List old states; with `remove`, delete them."""
    found = old_states()
    for path, size in found:
        print(f"{size / 1e6:9.1f} MB  {path.parent.name}  {path.name}")
        if remove:
            shutil.rmtree(path)
    total = sum(size for _, size in found) / 1e6
    words = "removed" if remove else "held by state of old parameters, code or inputs; --remove deletes it"
    print(f"{total:.1f} MB {words}")


def _age(path: Path) -> float:
    return (path / "identity.json").stat().st_mtime


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
