import os
from pathlib import Path

import pytest

from commands import clean


def state(stage: Path, fingerprint: str, age: int) -> Path:
    folder = stage / fingerprint
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text("{}")
    (folder / "shared.pt").write_bytes(b"x" * 1000)
    os.utime(folder / "identity.json", (age, age))
    return folder


def test_only_older_states_go_and_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clean, "work_root", lambda: tmp_path)
    newest, oldest = state(tmp_path / "gan-train", "aaaa", 200), state(tmp_path / "gan-train", "bbbb", 100)
    only = state(tmp_path / "vit-train@2-cnn", "cccc", 50)
    (tmp_path / "names").mkdir()  # no state: never touched
    clean.clean(remove=False)
    shown = capsys.readouterr().out
    assert "bbbb" in shown and "aaaa" not in shown and "cccc" not in shown and oldest.exists()
    clean.clean(remove=True)
    assert not oldest.exists() and newest.exists() and only.exists() and (tmp_path / "names").exists()
