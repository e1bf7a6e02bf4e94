import os
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from settings.errors import TrainingFailed
from settings.places import Local
from tests.training.tiny import Tiny, run
from training.checkpoint import latest, roll_back, save
from training.loop import train
from training.precision import Decisions
from training.ranks import start

Machine = tuple[Accelerator, Decisions]


@pytest.fixture
def machine() -> Machine:
    return start(Local(device="cpu", precision="fp32"))


def there(work: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("state-")) for path in work.glob("state-*") if path.suffix != ".part")


def test_the_newest_good_state_is_kept_beside_the_newest(tmp_path: Path, machine: Machine) -> None:
    found = []
    for images, good in ((8, 0), (16, 0), (24, 20), (32, 20), (40, 40)):
        save(tmp_path, images, *machine, {"w": torch.ones(2)}, {}, good)
        found.append(there(tmp_path))
    assert found == [[8], [16], [16, 24], [16, 32], [40]]


def test_a_state_is_on_the_disk_before_it_has_its_name_and_its_name_before_the_older_one_goes(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 8, *machine, {"w": torch.ones(2)}, {})
    new = tmp_path / "state-000000000016"
    flushed: dict[int, tuple[bool, list[int]]] = {}  # by inode: whether the state had its name, the states there
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        flushed[os.fstat(descriptor).st_ino] = (new.exists(), there(tmp_path))

    monkeypatch.setattr(os, "fsync", fsync)
    save(tmp_path, 16, *machine, {"w": torch.ones(2)}, {})
    assert len(list(new.iterdir())) == 3
    assert not any(flushed[path.stat().st_ino][0] for path in [new, *new.iterdir()])
    assert flushed[tmp_path.stat().st_ino] == (True, [8, 16])
    assert there(tmp_path) == [16]


def test_rolling_back_leaves_the_good_one_and_never_nothing(tmp_path: Path, machine: Machine) -> None:
    for images in (16, 24):
        save(tmp_path, images, *machine, {}, {}, 16)
    roll_back(tmp_path, 8)
    assert there(tmp_path) == [16, 24]
    roll_back(tmp_path, 20)
    assert latest(tmp_path) == tmp_path / "state-000000000016" and there(tmp_path) == [16]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, machine: Machine, bad: float) -> None:
    save(tmp_path, 8, *machine, {"w": [torch.ones(2)], "best": float("inf"), "count": torch.tensor(3)}, {})
    with pytest.raises(TrainingFailed, match="not finite at 16 images; the last state is kept"):
        save(tmp_path, 16, *machine, {"net": {"w": [torch.tensor([1.0, bad])]}}, {})
    assert there(tmp_path) == [8]


def test_weights_that_a_finite_loss_made_infinite_are_not_saved(tmp_path: Path, machine: Machine) -> None:
    """The loss of the step that broke them is finite still: without a look at the weights they would be resumed."""
    task = Tiny()
    step = task.step

    def breaks(batch: torch.Tensor, images_seen: int) -> dict[str, torch.Tensor]:
        losses = step(batch, images_seen)
        if images_seen == 20:
            next(task.net.parameters()).data.fill_(float("inf"))
        return losses

    task.step = breaks  # type: ignore[method-assign]
    with pytest.raises(TrainingFailed, match="not finite at 24 images"):
        train(task, run(tmp_path), *machine)
    whole, resumed = Tiny(), Tiny()
    assert train(whole, run(tmp_path / "whole"), *machine) == train(resumed, run(tmp_path), *machine)


def test_a_failed_validation_leaves_the_state_before_the_failure(tmp_path: Path, machine: Machine) -> None:
    """Validations at 16, 32, 48: the second says that it may be lost, the third that it is. What was good at 16 stays,
    and goes on as if nothing had been."""

    def judged(task: Tiny, at: dict[int, float], lost: int) -> Tiny:
        def evaluate(images_seen: int) -> dict[str, float]:
            if images_seen == lost:
                raise TrainingFailed("lost")
            return {"failing": at.get(images_seen, 0)}

        task.evaluate = evaluate  # type: ignore[method-assign]
        return task

    with pytest.raises(TrainingFailed, match="lost"):
        train(judged(Tiny(), {32: 1}, lost=48), run(tmp_path), *machine)
    assert there(tmp_path) == [16]
    resumed, whole = judged(Tiny(), {}, lost=0), judged(Tiny(), {}, lost=0)
    assert train(resumed, run(tmp_path), *machine) == train(whole, run(tmp_path / "whole"), *machine)
    assert resumed.seen == whole.seen[16:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.net.parameters(), whole.net.parameters(), strict=True))
