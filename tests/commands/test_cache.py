"""Against `used_objs`, from which `dvc gc` takes what it keeps."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from commands.cache import locked_cache, unused
from settings.errors import WrongEnvironment

NAMES = ("branch", "tag", "commit", "experiment", "stash", "index")


def git(where: Path, *words: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", *identity, *words], cwd=where, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data` that was other things before: each version is named by something else, or by nothing any more.

    Every version holds a file of its own, and one that all share.
    """
    place = tmp_path_factory.mktemp("cache") / "checkout"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    Repo.init(str(place)).close()
    (place / "data").mkdir()
    (place / "data/shared").write_text("in every version")

    def version(text: str) -> None:
        (place / "data/own").unlink(missing_ok=True)  # a hard link into the cache
        (place / "data/own").write_text(text)
        with Repo(str(place)) as repo:
            repo.add([str(place / "data")])

    def commit(text: str) -> str:
        version(text)
        git(place, "add", "-A")
        git(place, "commit", "-qm", text)
        return git(place, "rev-parse", "HEAD")

    commit("commit")
    git(place, "checkout", "-qb", "other")
    commit("branch")
    git(place, "checkout", "-q", "--detach")
    commit("tag")
    git(place, "tag", "kept")
    git(place, "update-ref", "refs/exps/ab/cdef/name", commit("experiment"))
    git(place, "checkout", "-q", "--detach", "main")
    lost = commit("lost")
    git(place, "checkout", "-q", "main")
    version("stash")
    git(place, "stash", "-q")
    version("forgotten")
    version("workspace")
    assert git(place, "cat-file", "-t", lost) == "commit"  # it is in the reflog alone
    return place


def contents(cache: Path, checkout: Path) -> dict[str, str]:
    """What unused files hold (lists of files apart) → the name they are listed by."""
    return {
        file.read_text(): name for name, files in unused(cache, checkout) for file in files if file.suffix != ".dir"
    }


def test_nothing_that_is_named_anywhere_is_unused(checkout: Path) -> None:
    with locked_cache(checkout) as cache:
        assert contents(cache, checkout).keys() == {"lost", "forgotten"}
        found = {file for _, files in unused(cache, checkout) for file in files}
        assert len(found) == 4  # each with its list of files
    with Repo(str(checkout)) as repo:
        used = repo.used_objs(all_commits=True, all_branches=True, all_tags=True, all_experiments=True)
        kept = {info.value for infos in used.values() for info in infos}
        present = {oid: Path(repo.cache.local.oid_to_path(oid)) for oid in repo.cache.local.all()}
    dvcs = {path for oid, path in present.items() if oid not in kept}
    assert found < dvcs  # DVC knows no stash
    assert {path.read_text() for path in dvcs - found if path.suffix != ".dir"} == {"stash"}


def test_running_experiments_keep_what_their_lock_names(checkout: Path) -> None:
    with locked_cache(checkout) as cache:
        (name,) = [files[0] for _, files in unused(cache, checkout) if "lost" in {f.read_text() for f in files[1:]}]
        lock = checkout / ".dvc/tmp/exps/running/dvc.lock"
        lock.parent.mkdir(parents=True)
        lock.write_text(f"outs:\n- path: data\n  md5: {name.parent.name}{name.name}\n")
        try:
            assert contents(cache, checkout).keys() == {"forgotten"}
        finally:
            lock.unlink()


def test_an_artifact_is_listed_by_the_path_that_a_run_recorded(checkout: Path) -> None:
    with locked_cache(checkout) as cache:
        assert set(contents(cache, checkout).values()) == {"of no recorded run"}
        (name,) = [files[0] for _, files in unused(cache, checkout) if "lost" in {f.read_text() for f in files[1:]}]
        record = cache.parent.parent / "runs/ab/abcd/ef"
        record.parent.mkdir(parents=True)
        record.write_text(f"cmd: x\nouts:\n- path: artifacts/x\n  md5: {name.parent.name}{name.name}\n- path: plain\n")
        assert contents(cache, checkout) == {"lost": "artifacts/x", "forgotten": "of no recorded run"}


def test_a_cache_that_others_may_use_is_refused(checkout: Path, tmp_path: Path) -> None:
    config = checkout / ".dvc/config.local"
    config.write_text(f"[cache]\n    dir = {tmp_path}\n")
    try:
        with pytest.raises(WrongEnvironment, match="outside this checkout"), locked_cache(checkout):
            pass
    finally:
        config.unlink()


def test_not_while_dvc_works(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0)
    with locked_cache(checkout), pytest.raises(WrongEnvironment, match="dvc is at work"), locked_cache(checkout):
        pass
    with locked_cache(checkout):  # it is free again
        pass
