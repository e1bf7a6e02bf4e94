from pathlib import Path

import pytest

from benchmarks.head import measure
from vit.train import HeadTraining


def test_both_ways_do_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    step = HeadTraining.step

    def noted(self: HeadTraining, batch: object, images_seen: int) -> object:
        found = step(self, batch, images_seen)
        losses.append(float(found["loss"]))
        return found

    monkeypatch.setattr(HeadTraining, "step", noted)
    found = measure(tmp_path, "test_resnet.r160_in1k", "layer3", 64, 32, 1)
    assert len(found["cached_s"]) == len(found["recomputed_s"]) == 1 and found["ratio"] > 0
    assert found["extraction_s"] > 0 and found["batch"] == 32
    # two steps to warm up and one; then two either way
    assert len(losses) == 7 and all(0.3 < loss < 1.5 for loss in losses)
