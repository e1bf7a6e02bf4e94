import pytest
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn, optim

from training.schedule import constant_then_linear, warmup_cosine


def test_cosine_equals_timms_after_the_warm_up() -> None:
    optimiser = optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    theirs = CosineLRScheduler(optimiser, t_initial=90, t_in_epochs=False)
    for images in range(0, 90, 7):
        theirs.step_update(images)
        assert warmup_cosine(images + 10, 100, 10) == pytest.approx(optimiser.param_groups[0]["lr"])


def test_warm_up_rises_and_the_end_is_zero() -> None:
    values = [warmup_cosine(i, 100, 10) for i in range(101)]
    assert values[0] > 0 and values[:11] == sorted(values[:11]) and max(values) == 1 and values[-1] == 0


def test_linear_decay_by_hand() -> None:
    assert [constant_then_linear(i, 200, 0.5) for i in (0, 99, 100, 150, 200, 300)] == [1, 1, 1, 0.5, 0, 0]
    assert constant_then_linear(5, 10, 1.0) == 1
