from pathlib import Path

import torch

from benchmarks.generate import Size, bare, measure
from corpus.images import Images
from gan.networks import Generator
from settings.places import Local
from tests.gan.made import machine


def test_the_stage_is_measured_beside_the_generator_alone(tmp_path: Path) -> None:
    local = Local(device="cpu", precision="fp32", workers=1)
    found = measure(Size(32, 2, 1, 8, 16, 1), local, tmp_path)
    assert len(Images(tmp_path / "out", "hu")) == 16, "the stage made its corpus"
    rates = found["images_a_second"]
    assert found["share"] == rates["stage"][0] / rates["bare"][0] > 0
    assert found["size"] == "32²/2/1/8" and found["precision"] == "fp32"


def test_the_bare_generator_sees_every_image_once() -> None:
    _, decisions = machine()
    generator, seen = Generator(2, 1), []
    generator.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    bare(generator, torch.zeros(4, 1, 16, 16), 10, decisions)
    assert seen == [4, 4, 2]
