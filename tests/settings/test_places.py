from pathlib import Path

import pytest

from settings.errors import BadInput, BadParameter, WrongEnvironment
from settings.places import load_local, main_checkout, raw_root, require_space, work_root, workers


def test_an_experiment_folder_belongs_to_its_checkout(tmp_path: Path) -> None:
    inside = tmp_path / "repo/.dvc/tmp/exps/standalone/tmp1"
    assert main_checkout(inside) == tmp_path / "repo"
    assert work_root(inside) == tmp_path / "repo/work"
    assert main_checkout(tmp_path / "repo") == tmp_path / "repo"


def test_the_environment_wins_over_local_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local.yaml").write_text("device: cpu\nraw: {ct: /a}\nlaunch: {processes: 2}\n")
    monkeypatch.setenv("SCOPEFORMER_RAW_CT", str(tmp_path))
    monkeypatch.setenv("SCOPEFORMER_WORKERS", "3")
    assert load_local(tmp_path).compile is None
    monkeypatch.setenv("SCOPEFORMER_COMPILE", "false")
    local = load_local(tmp_path)
    assert local.compile is False
    monkeypatch.setenv("SCOPEFORMER_COMPILE", "auto")
    assert load_local(tmp_path).compile is None
    assert raw_root(local, "ct") == tmp_path
    assert (local.device, local.launch.processes, workers(local)) == ("cpu", 2, 3)


def test_a_missing_raw_root_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"write it into local\.yaml"):
        raw_root(load_local(tmp_path), "photos")
    (tmp_path / "local.yaml").write_text(f"raw: {{photos: {tmp_path / 'none'}}}")
    with pytest.raises(BadInput, match="does not exist"):
        raw_root(load_local(tmp_path), "photos")


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text("devise: cpu\n")
    with pytest.raises(BadParameter, match="did you mean 'device'"):
        load_local(tmp_path)


def test_too_little_space_is_said_before_the_work(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(WrongEnvironment, match="GB needed"):
        require_space(tmp_path, 10**18)
