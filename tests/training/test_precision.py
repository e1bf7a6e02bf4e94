import pytest
import torch

from training import precision
from training.precision import decide


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


def test_autocast_holds_only_in_bf16() -> None:
    x = torch.ones(2, 2)
    with decide("cpu", "bf16").autocast():
        assert (x @ x).dtype == torch.bfloat16
    with decide("cpu", "fp32").autocast():
        assert (x @ x).dtype == torch.float32
