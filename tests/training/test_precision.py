import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from settings.errors import WrongEnvironment
from training import precision
from training.checkpoint import settle
from training.precision import Decisions, decide, decide_compilation, set_threads


@pytest.mark.parametrize(("units", "expected"), [(True, ("bf16", True)), (False, ("fp32", False))])
def test_a_cpu_computes_in_bf16_only_where_it_has_the_units(
    units: bool, expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16_units", lambda: units)
    decisions = decide("cpu", "auto")
    assert (decisions.precision, decisions.channels_last) == expected


def test_the_users_wish_wins_and_threads_are_shared_by_ranks() -> None:
    assert decide("cpu", "fp32").precision == "fp32"
    assert decide("cpu", "bf16").dtype == torch.bfloat16
    assert decide("cpu", "fp32", local_ranks=10_000).threads == 1


def test_fewer_threads_than_torch_reckons_with_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_THREAD_LIMIT", str(threads))
    set_threads(threads)
    with pytest.raises(WrongEnvironment, match=f"OMP_THREAD_LIMIT={threads}: torch computes wrong sums"):
        set_threads(threads + 1)
    assert torch.get_num_threads() == threads


def test_autocast_holds_only_in_bf16() -> None:
    x = torch.ones(2, 2)
    with decide("cpu", "bf16").autocast():
        assert (x @ x).dtype == torch.bfloat16
    with decide("cpu", "fp32").autocast():
        assert (x @ x).dtype == torch.float32


BF16 = Decisions("cpu", "bf16", True, torch.get_num_threads())
FP32 = Decisions("cpu", "fp32", False, torch.get_num_threads())
GPU = Decisions("cuda", "bf16", True, 4)


@pytest.mark.parametrize(
    ("decisions", "wish", "images", "compiled", "why"),
    [
        (BF16, None, 100_000, True, "earn it back"),
        (GPU, None, 100_000, False, "no GPU has run"),
        (GPU, True, 600, True, "local.yaml"),
        (BF16, None, 600, False, "600 images are too few"),
        (FP32, None, 10**9, False, "fp32 on a CPU"),
        (FP32, True, 600, True, "local.yaml"),
        (BF16, False, 10**9, False, "local.yaml"),
    ],
)
def test_compiling_is_decided_from_device_units_and_length(
    decisions: Decisions, wish: bool | None, images: int, compiled: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_compiler", lambda: True)
    found, said = decide_compilation(decisions, wish, images)
    assert found.compiled is compiled and why in said
    monkeypatch.setattr(precision, "has_compiler", lambda: False)
    found, said = decide_compilation(decisions, wish, images)
    assert found == decisions and not found.compiled and "no C++ compiler" in said


def test_a_compiler_is_looked_for_where_torch_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert not precision.has_compiler()
    (tmp_path / "g++").touch(mode=0o755)
    assert precision.has_compiler()


def test_a_resumed_run_computes_as_it_began_unless_the_compiler_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state-000000000004"
    state.mkdir()
    began = Decisions("cpu", "fp32", False, 1, compiled=True)
    note = {"decisions": began.as_dict(), "ranks": 1, "device": "another", "torch": torch.__version__}
    (state / "decisions.json").write_text(json.dumps(note))
    threads = torch.get_num_threads()
    try:
        for there in (True, False):
            monkeypatch.setattr("training.checkpoint.has_compiler", lambda there=there: there)
            assert settle(tmp_path, FP32, Accelerator(cpu=True)).compiled is there
            said = capsys.readouterr().out
            assert ("compiled" in said) is there and "not bit-exact" in said
    finally:
        torch.set_num_threads(threads)
