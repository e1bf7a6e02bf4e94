import threading
import time
from pathlib import Path

import pytest

from corpus.sharing import Share, share_of_environment, wait_for_files
from settings.errors import BadParameter, WrongEnvironment


def test_every_item_has_one_rank() -> None:
    shares = [Share(rank, 3).mine(range(8)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(8))
    assert Share().mine("abc") == "abc"


def test_the_environment_names_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert share_of_environment() == Share(0, 1)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(BadParameter, match="RANK=1 WORLD_SIZE=1"):
        share_of_environment()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert share_of_environment() == Share(1, 2)
    monkeypatch.setenv("RANK", "-1")
    with pytest.raises(BadParameter):
        share_of_environment()


def test_missing_files_are_named_with_their_rank(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.json" for n in range(6)]
    for n in (0, 2, 3, 4):
        paths[n].touch()
    started = time.monotonic()
    with pytest.raises(WrongEnvironment, match=r"shards: 2 of 6 files .*\(1\.json, 5\.json; rank 1\)"):
        wait_for_files(paths, Share(0, 2), "shards", patience=0.3)
    assert time.monotonic() - started < 3


def test_patience_starts_anew_with_every_file(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) for n in range(5)]

    def appear() -> None:
        for path in paths:
            time.sleep(0.4)
            path.touch()

    thread = threading.Thread(target=appear)
    thread.start()
    wait_for_files(paths, Share(0, 2), "shards", patience=1.0)
    thread.join()
