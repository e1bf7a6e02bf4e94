import threading
import time
from pathlib import Path

import pytest

from corpus import sharing
from corpus.sharing import Heartbeat, Share, share_of_environment, wait_for_files
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


def test_patience_starts_anew_with_every_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, heartbeat = tmp_path / "made", Heartbeat(tmp_path / "alive")
    heartbeat.beat()
    with pytest.raises(WrongEnvironment, match="1 of 1 files"):  # of a rank that is dead by now
        wait_for_files([made], Share(0, 2), "shards", 0.3, heartbeats=[heartbeat.path])
    before = heartbeat.path.stat().st_mtime_ns
    heartbeat.beat()
    assert heartbeat.path.stat().st_mtime_ns == before  # not for every batch
    monkeypatch.setattr(sharing, "BEAT", 0.0)

    def work() -> None:
        for _ in range(4):
            time.sleep(0.4)
            heartbeat.beat()
        made.touch()

    thread = threading.Thread(target=work)
    thread.start()
    wait_for_files([made], Share(0, 2), "shards", 1.0, heartbeats=[heartbeat.path])
    thread.join()
