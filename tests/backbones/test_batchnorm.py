from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backbones.augment import to_input
from backbones.batchnorm import match_statistics
from backbones.feature_cnn import build, save_weights
from backbones.parameters import Cnn
from backbones.start import Start
from corpus.card import write_card
from corpus.images import Images
from settings.errors import BadParameter
from tests.backbones import made
from tests.backbones.stages import CNN, IMAGES, SMALL, checkout, execute, watch

ROWS = np.arange(12)


def start(folder: Path) -> Path:
    torch.manual_seed(5)
    folder.mkdir()
    save_weights(build(SMALL, 2, 1e-5), folder)
    write_card(folder, "classifier", architecture=SMALL, outputs=2, batchnorm_eps=1e-5)
    return folder


def matched(folder: Path, **change: Any) -> dict[str, torch.Tensor]:
    images = Images(made.ct(folder / "ct"), "windows")
    cnn = Cnn(**{**CNN, "trained_on": "batchnorm", **change})
    (folder / "out").mkdir()
    match_statistics(images, ROWS, cnn, Start(folder / "start"), 12, 0, folder / "out", *made.machine())
    return load_file(folder / "out/model.safetensors")


def test_statistics_are_the_slices_and_all_else_is_the_start(tmp_path: Path) -> None:
    """The first BatchNorm by hand, from one batch of all slices: mean and unbiased variance over n·h·w."""
    before = load_file(start(tmp_path / "start") / "model.safetensors")
    after = matched(tmp_path)
    pixels = torch.from_numpy(Images(tmp_path / "ct", "windows").shards.read(ROWS))
    kernel = build(SMALL, 1, 1e-5)
    kernel.load_state_dict({k: v for k, v in before.items() if not k.startswith("fc.")}, strict=False)
    seen = kernel.get_submodule("conv1")(to_input(pixels, 32)).detach()
    torch.testing.assert_close(after["bn1.running_mean"], seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after["bn1.running_var"], seen.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    moved = {name for name in after if not name.startswith("fc.") and not torch.equal(before[name], after[name])}
    assert moved == {name for name in after if name.endswith(("running_mean", "running_var", "num_batches_tracked"))}


def test_a_cnn_without_batchnorm_is_refused(tmp_path: Path) -> None:
    images = Images(made.ct(tmp_path / "ct"), "windows")
    cnn = Cnn(**{**CNN, "architecture": "test_convnext", "stage": "stages.2", "trained_on": "batchnorm"})
    with pytest.raises(BadParameter, match="has no BatchNorm"):
        match_statistics(images, ROWS, cnn, Start(), 4, 0, tmp_path, *made.machine())


def test_fitting_on_ct_forgets_the_statistics_of_the_start() -> None:
    """Why the arm has no second state: a step normalises by its batch, so the weights come out the same."""
    ends = []
    for shift in (0.0, 3.0):
        torch.manual_seed(0)
        model = build(SMALL, 6, 1e-5).train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean += shift
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            model(torch.randn(4, 3, 32, 32)).square().mean().backward()
            optimiser.step()
        ends.append([parameter.detach() for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_the_stage_reads_the_cnn_half_and_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path)
    for name in ("train", "val"):
        (tmp_path / f"artifacts/split/labels-{name}.parquet").write_text("reading this fails")
    rows = watch(monkeypatch)
    cnn = {**CNN, "trained_on": "batchnorm"}
    given = {"cnn_finetune": {"batch": 4}, "cnns": {"a": cnn}, "extract_features": {"batch": 5, "cache": True}}
    out = execute(
        tmp_path, monkeypatch, "cnn-batchnorm@a", given, [IMAGES, "artifacts/split/parts.parquet"], "artifacts/cnns/a"
    )
    assert rows == {"images-32": set(range(12))}, "the CNN half"
    maps = execute(
        tmp_path, monkeypatch, "extract-features@a", given, [IMAGES, "artifacts/cnns/a"], "artifacts/features/a"
    )
    assert (maps / "card.json").exists() and (out / "model.safetensors").exists()


@pytest.mark.parametrize("change", [{"fraction": 0.5}, {"frozen": "layer1"}])
def test_only_a_cnn_fitted_on_ct_has_a_fraction_or_a_frozen_part(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is of a CNN that is fitted on CT"):
        Cnn(**{**CNN, "trained_on": "batchnorm", **change})
