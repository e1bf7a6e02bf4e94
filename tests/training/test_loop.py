import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from settings.errors import Interrupted, TrainingFailed, WrongEnvironment
from settings.machine import on_signals
from settings.places import Local
from tests.training.ranks import run_two_ranks
from tests.training.tiny import Tiny, run
from training.checkpoint import latest
from training.loop import _stop_signal, train
from training.ranks import start


@pytest.fixture
def machine():  # type: ignore[no-untyped-def]
    return start(Local(device="cpu", precision="fp32"))


def same(a: Tiny, b: Tiny) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.net.parameters(), b.net.parameters(), strict=True))


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    whole = Tiny()
    curves = train(whole, run(tmp_path / "a"), *machine)
    broken = Tiny()
    broken.die_after = 7
    with pytest.raises(KeyboardInterrupt):
        train(broken, run(tmp_path / "b"), *machine)
    assert not same(whole, broken)
    resumed = Tiny()
    again = train(resumed, run(tmp_path / "b"), *machine)
    assert same(whole, resumed) and again == curves
    assert broken.seen + resumed.seen == whole.seen
    assert resumed.steps == 15


def test_a_finished_training_is_not_trained_again(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    first = Tiny()
    curves = train(first, run(tmp_path), *machine)
    second = Tiny()
    assert train(second, run(tmp_path), *machine) == curves
    assert same(first, second) and not second.seen


def test_curves_validate_at_intervals_and_at_the_end(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    curves = train(Tiny(), run(tmp_path), *machine)
    assert [row["images"] for row in curves.validation] == [16, 32, 48, 60]
    assert curves.training[-1]["images"] == 60
    curves.write(tmp_path)
    assert (tmp_path / "validation.csv").read_text().splitlines()[0] == "images,weight"


def test_sigterm_saves_and_says_so(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    task = Tiny()
    original = task.step

    def step(batch: torch.Tensor, images_seen: int) -> dict[str, torch.Tensor]:
        if images_seen == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(batch, images_seen)

    task.step = step  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="24 of 60"):
        train(task, run(tmp_path, every=1000), *machine)
    assert latest(tmp_path) == tmp_path / "state-000000000024"
    resumed, whole = Tiny(), Tiny()
    train(resumed, run(tmp_path), *machine)
    train(whole, run(tmp_path / "whole"), *machine)
    assert same(resumed, whole)


@pytest.mark.parametrize("where", ["step", "evaluate"])
def test_a_signal_at_the_end_is_passed_on_when_all_is_saved(where: str, tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    """In the last step or the last validation, when no turn comes any more at which to ask for it."""
    task, found = Tiny(), []
    original = getattr(task, where)

    def signalled(*arguments: Any) -> Any:
        if arguments[-1] == {"step": 56, "evaluate": 60}[where]:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    setattr(task, where, signalled)
    with on_signals(signal.SIGTERM, call=lambda *_: found.append(latest(tmp_path))):
        train(task, run(tmp_path, every=1000), *machine)
    assert found == [tmp_path / "state-000000000060"]


def test_an_error_after_a_signal_is_what_is_raised(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    task, passed_on = Tiny(), []

    def step(batch: torch.Tensor, images_seen: int) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("of the step")

    task.step = step  # type: ignore[method-assign]
    with (
        on_signals(signal.SIGTERM, call=lambda *_: passed_on.append(1)),
        pytest.raises(ValueError, match="of the step"),
    ):
        train(task, run(tmp_path), *machine)
    assert not passed_on


@pytest.mark.parametrize(
    ("error", "passed"), [(RuntimeError("Connection closed by peer"), 1), (TrainingFailed("x"), 0)]
)
def test_a_rank_that_lost_its_peer_ends_of_the_launchers_signal(error: Exception, passed: int) -> None:
    """The launcher knows which rank died; a rank of several that has a word for the user says it itself."""
    passed_on: list[int] = []
    with (
        on_signals(signal.SIGTERM, signal.SIGINT, call=lambda *_: passed_on.append(1)),
        pytest.raises(type(error)),
        _stop_signal(2) as stop,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested and not passed_on
        raise error
    assert len(passed_on) == passed


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_rank_that_stops_outlives_the_second_signal_to_say_why(ranks: int) -> None:
    """A scheduler signals every process; the launcher then passes its own on."""
    again: list[int] = []
    with on_signals(signal.SIGTERM, signal.SIGINT, call=lambda *_: again.append(1)):  # puts pytest's own back
        with pytest.raises(Interrupted), _stop_signal(ranks):
            os.kill(os.getpid(), signal.SIGTERM)
            raise Interrupted("stopped")
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(again) == (1 if ranks == 1 else 0)


def scripted(task: Tiny, losses: list[float]) -> Tiny:
    """Validations, at 16, 32, …, give these losses in turn."""
    task.evaluate = lambda images_seen: {"val_loss": losses[images_seen // 16 - 1]}  # type: ignore[method-assign]
    return task


def test_it_ends_after_as_many_validations_without_a_lower_loss(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    impatient = replace(run(tmp_path, total=96, every=1000), patience=2)
    losses = [0.5, 0.6, 0.4, 0.4, 0.7, 0.1]
    curves = train(scripted(Tiny(), losses), impatient, *machine)
    assert [row["images"] for row in curves.validation] == [16, 32, 48, 64, 80], "an equal loss is none that is lower"
    again = scripted(Tiny(), losses)
    assert train(again, impatient, *machine) == curves and not again.seen, "it stays ended"


def test_a_run_killed_before_its_early_end_ends_there_too(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    losses = [0.5, 0.6, 0.7, 0.1, 0.1, 0.1]
    whole, broken, resumed = (scripted(Tiny(), losses) for _ in range(3))
    curves = train(whole, replace(run(tmp_path / "a", 96, every=1000), patience=2), *machine)
    broken.die_after = 10  # between the second validation and the third
    impatient = replace(run(tmp_path / "b", 96), patience=2)
    with pytest.raises(KeyboardInterrupt):
        train(broken, impatient, *machine)
    assert train(resumed, impatient, *machine) == curves and curves.validation[-1]["images"] == 48
    assert same(resumed, whole)


def test_a_non_finite_loss_keeps_the_last_state(tmp_path: Path, machine) -> None:  # type: ignore[no-untyped-def]
    task = Tiny()
    original = task.step

    def step(batch: torch.Tensor, images_seen: int) -> dict[str, torch.Tensor]:
        losses = original(batch, images_seen)
        return {"loss": losses["loss"] * float("nan")} if images_seen >= 12 else losses

    task.step = step  # type: ignore[method-assign]
    with pytest.raises(TrainingFailed, match="'loss' is not finite at 16 images"):
        train(task, run(tmp_path), *machine)
    assert latest(tmp_path) == tmp_path / "state-000000000012"


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(WrongEnvironment, match="torch sees none"):
        start(Local(device="cuda"))


def test_fewer_ranks_than_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEFORMER_RANKS", "2")
    with pytest.raises(WrongEnvironment, match="2 ranks were asked for, 1 joined"):
        start(Local(device="cpu"))


RANKS = """
import sys
from pathlib import Path
import torch
from settings.places import Local
from tests.training.tiny import Tiny, run
from training.loop import train
from training.ranks import start
accelerator, decisions = start(Local(device="cpu", precision="fp32"))
task = Tiny(accelerator.process_index, accelerator.num_processes, accelerator.prepare)
work = Path(sys.argv[1])
train(task, run(work), accelerator, decisions)
torch.save({"net": task.net.state_dict(), "images": len(task.seen)}, work / f"end-{accelerator.process_index}.pt")
accelerator.end_training()
"""


def test_two_ranks_agree_and_one_writes(tmp_path: Path) -> None:
    run_two_ranks(RANKS, tmp_path)
    ends = [torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(torch.equal(ends[0]["net"][name], ends[1]["net"][name]) for name in ends[0]["net"])
    assert [end["images"] for end in ends] == [30, 30]
    state = tmp_path / "state-000000000060"
    assert sorted(p.name for p in state.iterdir()) == ["decisions.json", "rank-0.pt", "rank-1.pt", "shared.pt"]
