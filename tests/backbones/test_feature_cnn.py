from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from backbones.feature_cnn import FeatureCnn, build, check_stage, load_cnn, save_weights
from backbones.start import load_start
from corpus.card import write_card
from settings.errors import BadArtifact, BadInput, BadParameter

SMALL = "test_resnet.r160_in1k"


def test_the_map_is_the_last_residual_add_of_timms_own_forward() -> None:
    """Shape as the paper gives it; values against a hook on timm's whole forward pass."""
    torch.manual_seed(0)
    model = timm.create_model("legacy_xception", pretrained=False).eval()
    x = torch.randn(1, 3, 224, 224)
    seen: list[torch.Tensor] = []
    hook = model.get_submodule("block12").register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(x)
    hook.remove()
    maps = FeatureCnn(model, "block12")(x)
    assert maps.shape == (1, 1024, 7, 7)
    assert torch.equal(maps, seen[0])


def test_a_frozen_cnn_does_not_move() -> None:
    cnn = FeatureCnn(build(SMALL, 0, 1e-5), "layer3")
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    cnn.train()
    assert not any(module.training for module in cnn.modules()) and not any(p.requires_grad for p in cnn.parameters())
    for _ in range(3):
        cnn(torch.randn(4, 3, 32, 32) * 5)
    after = cnn.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_unknown_names_are_said() -> None:
    with pytest.raises(BadParameter, match="timm has no 'legacy_xceptoin'"):
        build("legacy_xceptoin", 6, 1e-5)
    with pytest.raises(BadParameter, match=r"no module 'block13'; it has .*block12"):
        FeatureCnn(build("legacy_xception", 0, 1e-5), "block13")


def test_batchnorm_eps_is_set_everywhere() -> None:
    eps = {m.eps for m in build(SMALL, 6, 1e-3).modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert eps == {1e-3}


def test_a_cut_anywhere_in_any_cnn() -> None:
    cnn = FeatureCnn(build(SMALL, 0, 1e-5), "layer3")
    assert cnn(torch.zeros(1, 3, 64, 64)).shape[1:] == cnn.shape(64)
    with pytest.raises(BadParameter, match="is no map"):
        FeatureCnn(build(SMALL, 0, 1e-5), "global_pool").shape(64)


@pytest.mark.parametrize(
    ("architecture", "stage", "shape"),
    [
        ("resnet18", "layer3", (256, 4, 4)),
        ("efficientnet_lite0", "blocks.4", (112, 4, 4)),
        ("convnext_atto", "stages.2", (160, 4, 4)),
    ],
)
def test_families_are_cut_where_the_parameter_says(architecture: str, stage: str, shape: tuple[int, ...]) -> None:
    """Shape of the map of a 64² slice, and its values against a hook on timm's whole forward pass."""
    torch.manual_seed(0)
    model = timm.create_model(architecture, pretrained=False).eval()
    x, seen = torch.randn(1, 3, 64, 64), []
    hook = model.get_submodule(stage).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        model(x)
    hook.remove()
    cnn = FeatureCnn(model, stage)
    assert cnn.shape(64) == shape and torch.equal(cnn(x), seen[0])


@pytest.mark.parametrize(
    ("architecture", "stage", "side", "message"),
    [
        (SMALL, "global_pool", 32, "is no map"),
        (SMALL, "layer5", 32, "no module 'layer5'; it has conv1"),
        ("test_vit", "blocks.1", 160, "cannot be cut at 'blocks.1'"),
        ("test_resnetx", "layer3", 32, "timm has no 'test_resnetx'"),
    ],
)
def test_a_stage_without_a_map_is_said_before_anything_is_trained(
    architecture: str, stage: str, side: int, message: str
) -> None:
    with pytest.raises(BadParameter, match=message):
        check_stage(architecture, stage, side)


def test_start_weights_are_widened_and_the_classifier_is_free(tmp_path: Path) -> None:
    donor = build(SMALL, 10, 1e-5).state_dict()
    stored = {k: v.half() if v.ndim == 4 else v for k, v in donor.items() if "num_batches" not in k}
    save_file({k: v.contiguous() for k, v in stored.items()}, tmp_path / "w.safetensors")
    model = build(SMALL, 6, 1e-5)
    fresh = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("fc.")}
    load_start(model, tmp_path / "w.safetensors", keep_classifier=True)
    for name, value in model.state_dict().items():
        if name in fresh:
            assert torch.equal(value, fresh[name])  # of another size: left as it was
        elif name in stored:
            assert value.dtype == torch.float32 and torch.equal(value, stored[name].float())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(2, 2)}, tmp_path / "w.safetensors")
    with pytest.raises(BadInput, match="not of this architecture"):
        load_start(build(SMALL, 6, 1e-5), tmp_path / "w.safetensors", keep_classifier=False)
    (tmp_path / "w.safetensors").write_bytes(b"pickle")
    with pytest.raises(BadInput, match="no safetensors file"):
        load_start(build(SMALL, 6, 1e-5), tmp_path / "w.safetensors", keep_classifier=False)


def test_an_artifact_rebuilds_itself(tmp_path: Path) -> None:
    model = build(SMALL, 3, 1e-3)
    save_weights(model, tmp_path)
    write_card(tmp_path, "cnn", architecture=SMALL, outputs=3, batchnorm_eps=1e-3)
    again, _ = load_cnn(tmp_path, "cnn")
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(x), model.eval()(x))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(BadArtifact, match="weights and card do not fit"):
        load_cnn(tmp_path, "cnn")
