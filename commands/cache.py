"""Files in DVC's cache that nothing names: not the workspace, no commit under any ref of git, no experiment.

What names a file is the text of `dvc.lock` and of `*.dvc` files, as it is here and as it ever was under a branch, tag,
stash or experiment: all of these are refs. `dvc gc --all-commits --all-experiments` keeps that but the stash's; it
loads the graph of every commit, and asks the remote for what is not here.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from settings.errors import WrongEnvironment
from settings.places import ROOT, main_checkout

NAMED = re.compile(r"md5: ([0-9a-f]{32}(?:\.dir)?)\b")
METAFILES = ("dvc.lock", "*.dvc")


class Unused(NamedTuple):
    """An artifact, or a single file, of the cache that nothing names."""

    name: str  # path of the out in the workspace, as the run cache has it
    files: list[Path]  # those of its files that nothing else names, and its list of files


@contextmanager
def locked_cache(checkout: Path = ROOT) -> Iterator[Path]:
    """The folder of DVC's objects, to which DVC adds nothing meanwhile (what it adds it names a moment later).

    WrongEnvironment while DVC works on it, or where it lies outside the checkout: other checkouts may use it.
    """
    from dvc.lock import LockError
    from dvc.repo import Repo

    with Repo(str(checkout)) as repo:
        cache = Path(repo.cache.local.path)
        if not cache.is_relative_to(main_checkout(checkout)):
            raise WrongEnvironment(
                f"the cache is {cache}, outside this checkout: others may use it; see `dvc gc --help`"
            )
        try:
            repo.lock.lock()
        except LockError:
            raise WrongEnvironment("dvc is at work here; run it again when that has ended") from None
        try:
            yield cache
        finally:
            repo.lock.unlock()


def unused(cache: Path, checkout: Path = ROOT) -> list[Unused]:
    """Artifacts of the cache that nothing names, each file under one of them alone.

    WrongEnvironment outside git, which alone knows what was named.
    """
    present = {f"{path.parent.name}{path.name}": path for path in cache.glob("[0-9a-f][0-9a-f]/*")}
    kept = _with_contents(_named(checkout), present)
    left = {oid: path for oid, path in present.items() if oid not in kept}
    outs = _outs(cache.parent.parent / "runs")
    found = []
    for oid in sorted(left, key=lambda oid: (not oid.endswith(".dir"), oid)):
        if oid in left:
            members = [member for member in (oid, *_contents(oid, present)) if member in left]
            name = outs.get(oid, "of no recorded run")
            found.append(Unused(name, [left.pop(member) for member in dict.fromkeys(members)]))
    return found


def _named(checkout: Path) -> set[str]:
    """Every hash in a metafile of the workspace, of running experiments' copies of it, or of git."""
    listed = _git(checkout, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *METAFILES)
    files = {checkout / name for name in listed.decode().split("\0") if name} | {checkout / "dvc.lock"}
    files |= set((checkout / ".dvc/tmp/exps").glob("*/dvc.lock"))
    texts = [path.read_text(encoding="utf-8") for path in sorted(files) if path.is_file()]
    # Both sides of every change that any commit made to a metafile; -m: those of merges as well.
    log = ("log", "--all", "--full-history", "-m", "--raw", "--no-abbrev", "--format=", "--", *METAFILES)
    blobs = {blob for line in _git(checkout, *log).decode().splitlines() for blob in line.split()[2:4]} - {"0" * 40}
    history = _git(checkout, "cat-file", "--batch", text="\n".join(sorted(blobs)))
    return set(NAMED.findall("\n".join([*texts, history.decode(errors="replace")])))


def _with_contents(oids: Iterable[str], present: dict[str, Path]) -> set[str]:
    found = set(oids)
    return found.union(*(_contents(oid, present) for oid in found))


def _contents(oid: str, present: dict[str, Path]) -> list[str]:
    """Hashes of the files of a folder; none for a file, or a folder that is not here: it can lose nothing here."""
    if not oid.endswith(".dir") or oid not in present:
        return []
    return [entry["md5"] for entry in json.loads(present[oid].read_text(encoding="utf-8"))]


def _outs(runs: Path) -> dict[str, str]:
    """Hash → path of the out, from DVC's record of every run."""
    records = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in runs.glob("*/*/*")]
    return {out["md5"]: out["path"] for record in records for out in record["outs"] if "md5" in out}


def _git(checkout: Path, *words: str, text: str = "") -> bytes:
    done = subprocess.run(["git", *words], cwd=checkout, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise WrongEnvironment(
            f"git does not say what it names ({done.stderr.decode().strip()}); clean in a git checkout"
        )
    return done.stdout
