from dataclasses import replace
from typing import Any

import pytest

from benchmarks import translator as room
from benchmarks.textbook import operations
from benchmarks.translator import Size, make_step, measure, parameters, show
from training.precision import decide

TINY = Size(64, 2, 1, 2)
FP32 = replace(decide("cpu", "fp32"), threads=1)


def test_the_whole_benchmark_at_a_tiny_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def apart(*what: Any) -> float:
        asked.append(what)
        return 1.0

    monkeypatch.setattr(room, "memory_apart", apart)
    found = measure(FP32, (TINY,), ("textbook", "ours"), turns=2)
    row = found["sizes"][0]
    assert row["textbook"]["ratio"] == 1 and row["ours"]["ratio"] > 0
    share = row["gflop"] / (row["ours"]["ms"] / 1e3) / found["practical_peak_gflops"]
    assert row["ours"]["share_of_peak"] == pytest.approx(share, abs=0.01)
    assert asked == [("textbook", TINY, "cpu"), ("ours", TINY, "cpu")] and show(found).row_count == 2


def test_memory_is_a_processs_own() -> None:
    assert 50 < room.peak_memory("ours", TINY, FP32) < 20_000


def test_both_steps_begin_with_the_same_losses() -> None:
    """The pool still passes images through; noise and rounding are ours alone, so cycles differ a little."""
    textbook: Any = make_step("textbook", TINY, FP32)()
    ours: Any = make_step("ours", TINY, FP32)()
    for mine, theirs in (("generators", "generators"), ("discriminator_ct", "ct"), ("discriminator_photo", "photo")):
        assert float(ours[mine]) == pytest.approx(textbook[theirs], rel=0.05)


def test_operations_by_hand() -> None:
    k, s = 2, 64
    ends = 2 * 49 * k * s * s
    down = 9 * k * 2 * k * (s // 2) ** 2 + 9 * 2 * k * 4 * k * (s // 4) ** 2
    up = 9 * 4 * k * 2 * k * (s // 2) ** 2 + 9 * 2 * k * k * s * s
    generator = 2 * (ends + down + up + 2 * 9 * (4 * k) ** 2 * (s // 4) ** 2)
    assert parameters(TINY).field == 16, "kernel 4, stride 2, then twice stride 1: 64 → 32 → 31 → 30"
    discriminator = 2 * 16 * (k * 32**2 + k * 2 * k * 31**2 + 2 * k * 30**2)
    assert operations(parameters(TINY)) == pytest.approx(2 * 2 * (9 * generator + 8 * discriminator))
