import copy
import math
from typing import Any

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import declarations
from stages.scale import Counts, Load, Machine, Measured, check_networks, drawn_counts, loads, network_cost, predict


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    """The demo's parameters with a small CNN and a small translator."""
    params = load_yaml(ROOT / "profiles/demo.yaml")
    params["gan_train"].update(images=100, side=32, ngf=4, blocks=1, ndf=4, field=11, field_share=0.5)
    params["corpus_pretrain"].update(architecture="resnet10t", images=640, evaluate_every=300)
    params["cnn_finetune"].update(images=1200, evaluate_every=500)
    for cnn in params["cnns"].values():
        cnn.update(architecture="resnet10t", stage="layer3")
    return params


@pytest.fixture(scope="module")
def found(demo: dict[str, Any]) -> dict[str, Load]:
    """The loads of these."""
    return {load.stage: load for load in loads(demo, drawn_counts(demo))}


def measured(stage: str, work: float, seconds: float, **change: Any) -> Measured:
    row = {"rate": stage, "unit": "FLOP", "size": "a", "batch_flops": 10.0, "memory_mb": 1400.0, "fixed_s": 5.0}
    return Measured(**{**row, "stage": stage, "work": work, "seconds": seconds, **change})


def machine(*stages: Measured) -> Machine:
    return Machine(
        command="", revision="", processor="", cores=2, memory_gb=16, device="cuda", devices=2, precision="bf16",
        start_s=5, start_mb=400, stages=stages,
    )  # fmt: skip


def test_a_start_is_fixed_and_the_rest_goes_with_the_work() -> None:
    here = machine(measured("x", 1000, 15), measured("y", 7, 100))
    row = predict(Load("x", "x", "FLOP", 10_000, "a", 7, 30), here)
    assert row.seconds == pytest.approx(5 + 10 * 10) and row.basis == "measured" and row.bytes == 7
    assert row.memory_mb == pytest.approx(400 + 3 * 1000)
    assert row.device_hours == pytest.approx(2 * 105 / 3600)


def test_a_rate_of_another_size_is_extrapolated_and_one_of_the_same_goes_before_it() -> None:
    here = machine(measured("x", 1000, 15), measured("x@2", 500, 55, rate="x", size="b"))
    row = predict(Load("x", "x", "FLOP", 1000, "b", 0), here)
    assert row.seconds == 105 and row.basis == "measured" and row.memory_mb == 1400
    other = predict(Load("x", "x", "FLOP", 3000, "c", 0), here)
    assert other.seconds == pytest.approx(5 + 3000 * (10 + 50) / 1500) and other.basis == "extrapolated"
    assert predict(Load("x", "x", "FLOP", 3000, "c", 0, 99), here).memory_mb is None, "other networks, other memory"


def test_what_nothing_like_was_measured_is_unknown_and_no_network_has_no_device_hours() -> None:
    plain = {"unit": "slices", "batch_flops": 0, "memory_mb": None}
    here = machine(measured("x", 1000, 15), measured("d", 20, 4, fixed_s=0, **plain))
    assert predict(Load("z", "z", "FLOP", 1, "a", 9), here) == ("z", None, 9, None, None, "unknown")
    assert predict(Load("d", "d", "pixels", 1, "a", 9), here).basis == "unknown", "slices are no pixels"
    assert predict(Load("d", "d", "slices", 50, "a", 9), here) == ("d", 10, 9, None, None, "measured")
    computing = machine(measured("e", 20, 9, **plain))
    assert predict(Load("e", "e", "slices", 50, "a", 9), computing).seconds == 5 + 10, "its start stays as long"


def test_flops_are_those_that_torch_counts_and_the_map_is_the_cnns() -> None:
    model = timm.create_model("resnet10t", num_classes=6)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    parameters, flops, _ = network_cost("resnet10t", 6, 64)
    assert flops == counter.get_total_flops() and parameters == sum(p.numel() for p in model.parameters())
    _, cut, shape = network_cost("resnet10t", 6, 64, "layer3")
    assert cut < flops and shape == tuple(
        timm.create_model("resnet10t", features_only=True)(torch.zeros(1, 3, 64, 64))[3].shape[1:]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "resnet10s"}, r"cnns\.gan\.architecture: timm has no 'resnet10s'"),
        ({"stage": "block12"}, r"cnns\.gan\.stage: the CNN has no module 'block12'"),
        ({"trained_on": "ct", "frozen": "layer9"}, r"cnns\.gan\.frozen: the CNN has no module 'layer9'"),
        ({"stage": "layer4"}, r"variants\.2-cnn\.grid: maps of different grids .*\(imagenet-a 6×6, gan 3×3\)"),
    ],
)
def test_networks_that_cannot_be_are_named(demo: dict[str, Any], change: dict[str, Any], words: str) -> None:
    """Of 96 px layer3 makes 6×6, layer4 3×3."""
    params = copy.deepcopy(demo)
    check_networks(params)
    params["cnns"]["gan"].update(change)
    with pytest.raises(BadParameter, match=words):
        check_networks(params)


def test_maps_of_different_grids_fit_a_head_that_resamples_them(demo: dict[str, Any]) -> None:
    params = copy.deepcopy(demo)
    params["cnns"]["gan"]["stage"] = "layer4"
    params["variants"] = {"2-cnn": {**params["variants"]["2-cnn"], "grid": [3, 3]}}
    check_networks(params)


def test_work_and_disk_by_hand(demo: dict[str, Any], found: dict[str, Load]) -> None:
    """1,280 phantoms: a third is test, a fifth of the others val; 450 photos to train on and 150 held out."""
    assert drawn_counts(demo) == Counts(1280, 450, 150)
    assert found["phantom-ct"].bytes == 1280 * 512 * 512 * 2
    assert found["prepare-ct"].bytes == 1280 * (3 * 96**2 + 192**2)
    assert found["prepare-ct"].work == 1280 * (512**2 + 96**2 + 192**2)
    assert found["prepare-photos"].bytes == 600 * 96**2 * 3
    assert found["gan-generate"].bytes == 600 * 96**2
    parameters, flops, _ = network_cost("resnet10t", 10, 96)
    assert found["gan-pretrain"].work == flops * (3 * 640 + 3 * 150), "validated at 300, 600 and 640 images"
    assert found["gan-pretrain"].bytes == 4 * parameters and found["gan-pretrain"].batch_flops == 16 * flops
    flops = network_cost("resnet10t", 6, 96)[1]
    assert found["cnn-finetune@imagenet-a"].work == flops * (3 * 1200 + 3 * 171), "at 500, 1,000 and 1,200"
    assert found["evaluate@vit"].work == 171 + 427
    parameters, _, shape = network_cost("resnet10t", 6, 96, "layer3")
    assert found["extract-features@gan"].bytes == 2 * 1280 * math.prod(shape) + 4 * parameters
    assert found["vit-train@mean-logits"].work == 0 < found["vit-train@3-cnn"].work
    assert found["vit-train@2-cnn"].size != found["vit-train@3-cnn"].size


def test_every_stage_of_the_graph_has_its_work(demo: dict[str, Any], found: dict[str, Load]) -> None:
    assert list(found) == list(declarations(demo))


def test_the_translators_step_counts_what_torch_counts(demo: dict[str, Any]) -> None:
    """Forward and backward of both generators and both discriminators, as `Translator.step` runs them."""
    from benchmarks.textbook import operations
    from gan.parameters import GanTrain

    parameters = GanTrain(**{**demo["gan_train"], "batch": 2, "images": 2})
    work = {load.stage: load for load in loads({**demo, "gan_train": parameters.model_dump()}, Counts(9, 9, 9))}
    assert work["gan-train"].work == pytest.approx(operations(parameters), rel=0.25)
