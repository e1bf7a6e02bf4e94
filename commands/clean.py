"""`pipeline.py clean`: what old training state and unused cache hold, and their removal on request.

Nothing else removes either.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.filesize import decimal

from commands.cache import locked_cache, unused
from settings.errors import WrongEnvironment
from settings.places import ROOT, work_root


def clean(remove: Iterable[str] = ()) -> None:
    """List old states and unused cache; delete what `remove` names of the two, `work` and `cache`.

    Old is the state of a fingerprint that is neither its stage's newest nor that of the artifact in the workspace.
    Unused is what `commands.cache` says.
    """
    remove = set(remove)
    states = old_states()
    _print("state in work/ of other parameters, code or inputs", [(f"{s.parent.name}  {s.name}", [s]) for s in states])
    if "work" in remove:
        _remove(states)
    elif states:
        print("  to delete it: pipeline.py clean --remove work")
    try:
        _clean_cache("cache" in remove)
    except WrongEnvironment as reason:
        if "cache" in remove:
            raise
        print(f"unused cache: not looked for: {reason}")


def _clean_cache(remove: bool) -> None:
    with locked_cache() as cache:
        found = unused(cache)
        _print("cache that neither the workspace nor any commit, branch, tag, stash or experiment names", found)
        if remove:
            _remove(path for _, files in found for path in files)
    if found and not remove:
        print("  while it is here, `dvc repro` restores it after going back to the parameters that made it")
        print("  to delete it: pipeline.py clean --remove cache")


def old_states() -> list[Path]:
    """State folders of every fingerprint but each stage's newest, and the one that its artifact here comes from."""
    found = []
    for stage in sorted(p for p in work_root().glob("*/") if p.is_dir()):
        states = sorted((p for p in stage.glob("*/") if (p / "identity.json").exists()), key=_age)
        found += [state for state in states[:-1] if state.name != _present(stage.name)]
    return found


def _present(stage: str) -> str:
    """Fingerprint of the run that made the stage's artifact in the workspace; empty without one."""
    record = ROOT / "artifacts/provenance" / f"{stage}.json"
    return str(json.loads(record.read_text())["fingerprint"]) if record.exists() else ""


def _print(title: str, found: Sequence[tuple[str, list[Path]]]) -> None:
    """A line for each, the largest first, with the sum; what removal frees is less where a file has other names."""
    rows = {name: 0 for name, _ in found}
    for name, paths in found:
        rows[name] += sum(path.stat().st_size for path in _files(paths))
    total = sum(rows.values())
    freed = _freed(_files(path for _, paths in found for path in paths))
    also = f", {decimal(freed)} of it freed by removal: the rest has other names" if freed < total else ""
    print(f"{title}: {f'{decimal(total)}{also}' if found else 'none'}")
    for name, size in sorted(rows.items(), key=lambda row: (-row[1], row[0])):
        print(f"  {decimal(size):>10}  {name}")


def _files(paths: Iterable[Path]) -> list[Path]:
    return [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]


def _freed(files: list[Path]) -> int:
    """Bytes of the files all of whose names are among these."""
    found = [(status.st_dev, status.st_ino, status.st_nlink, status.st_size) for status in map(Path.stat, files)]
    return sum(size for (_, _, links, size), count in Counter(found).items() if count == links)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _age(path: Path) -> float:
    return (path / "identity.json").stat().st_mtime
