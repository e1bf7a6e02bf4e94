import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import clean
from commands.cache import Unused
from settings.errors import WrongEnvironment


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    @contextmanager
    def none() -> Iterator[Path]:
        yield tmp_path / "cache"

    monkeypatch.setattr(clean, "ROOT", tmp_path)
    monkeypatch.setattr(clean, "work_root", lambda: tmp_path / "work")
    monkeypatch.setattr(clean, "locked_cache", none)
    monkeypatch.setattr(clean, "unused", lambda cache: [])
    return tmp_path


def state(root: Path, stage: str, fingerprint: str, age: int) -> Path:
    folder = root / "work" / stage / fingerprint
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    (folder / "shared.pt").write_bytes(b"x" * 1000)
    os.utime(folder / "identity.json", (age, age))
    return folder


def test_only_older_states_go_and_only_when_asked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest, oldest = state(root, "gan-train", "aaaa", 200), state(root, "gan-train", "bbbb", 100)
    only = state(root, "vit-train@2-cnn", "cccc", 50)
    (root / "work/names").mkdir()  # no state: never touched
    clean.clean()
    clean.clean(["cache"])
    shown = capsys.readouterr().out
    assert "1.0 kB  gan-train  bbbb" in shown and "aaaa" not in shown and "cccc" not in shown and oldest.exists()
    clean.clean(["work"])
    assert not oldest.exists() and newest.exists() and only.exists() and (root / "work/names").exists()
    capsys.readouterr()
    clean.clean()
    assert capsys.readouterr().out.splitlines()[0].endswith("inputs: none")


def test_the_state_that_the_present_artifact_comes_from_is_kept(root: Path) -> None:
    state(root, "gan-train", "newest", 300)
    present, old = state(root, "gan-train", "present", 200), state(root, "gan-train", "old", 100)
    record = root / "artifacts/provenance/gan-train.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"fingerprint": "present"}))
    assert clean.old_states() == [old]
    record.unlink()
    assert clean.old_states() == [old, present]


def test_what_has_another_name_is_not_called_freed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state(root, "prepare-ct", "newest", 200)
    old = state(root, "prepare-ct", "old", 100)
    (old / "images-00000.npy").write_bytes(b"x" * 5000)
    os.link(old / "images-00000.npy", root / "artifact.npy")
    os.link(old / "shared.pt", old / "again.pt")  # two names, both old
    clean.clean()
    # 5000 + 2 × 1000 + 2 bytes are named; the shard stays
    assert "inputs: 7.0 kB, 1.0 kB of it freed by removal" in capsys.readouterr().out


def test_unused_cache_is_listed_by_artifact_and_goes_when_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [root / f"object-{number}" for number in range(3)]
    for number, file in enumerate(files):
        file.write_bytes(b"x" * 1000 * 10**number)
        file.chmod(0o444)
    found = [
        Unused("artifacts/gan", files[:1]),
        Unused("artifacts/vit", files[1:2]),
        Unused("artifacts/gan", files[2:]),
    ]
    monkeypatch.setattr(clean, "unused", lambda cache: found)
    for asked in ([], ["work"]):
        clean.clean(asked)
        lines = capsys.readouterr().out.splitlines()
        assert lines[1].endswith("experiment names: 111.0 kB")
        assert [line.split() for line in lines[2:4]] == [
            ["101.0", "kB", "artifacts/gan"],
            ["10.0", "kB", "artifacts/vit"],
        ]
        assert all(file.exists() for file in files)
    clean.clean(["cache"])
    assert not any(file.exists() for file in files)


def test_a_cache_that_cannot_be_judged_is_said_and_left(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def elsewhere() -> None:
        raise WrongEnvironment("the cache is elsewhere")

    monkeypatch.setattr(clean, "locked_cache", elsewhere)
    clean.clean()
    assert "not looked for: the cache is elsewhere" in capsys.readouterr().out
    with pytest.raises(WrongEnvironment, match="elsewhere"):
        clean.clean(["cache"])
