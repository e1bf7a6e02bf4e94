import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.augment import to_input
from backbones.feature_cnn import save_weights
from corpus.card import write_card
from ct.labels import LABELS
from settings.errors import BadArtifact, BadParameter
from tests.backbones import made
from tests.vit.heads import VIT, maps, shape
from training.precision import decide
from vit.head import Head, build_head, load_head, predict
from vit.inputs import Inputs
from vit.parameters import Shape

CPU, DECISIONS = torch.device("cpu"), decide("cpu", "fp32")


def artifact(folder: Path, head: torch.nn.Module, inputs: Inputs, form: Shape) -> Path:
    folder.mkdir()
    save_weights(head, folder)
    content = {"inputs": inputs.sources, "shape": form.model_dump(), "labels": list(LABELS)}
    write_card(folder, "head", vit=VIT.model_dump(), **content)
    return folder


def test_projections_set_the_width_that_the_encoder_reads() -> None:
    wide, small = (Head([1024] * 2, (7, 7), 1, p, VIT, 6) for p in (None, 128))
    assert wide.channels == wide.embed.in_channels == 2048  # the paper's 7×7×2048 …
    assert small.channels == small.embed.in_channels == 256  # … and 7×7×256
    assert small.projections is not None and len(small.projections) == 2
    assert small(*[torch.zeros(1, 1024, 7, 7)] * 2).shape == (1, 6)


def test_a_patch_of_one_is_a_linear_map_of_each_position() -> None:
    head = Head([4], (3, 3), 1, None, VIT, 6)
    x = torch.randn(2, 4, 3, 3)
    weight, bias = head.embed.parameters()
    linear = x.permute(0, 2, 3, 1) @ weight[:, :, 0, 0].T + bias
    torch.testing.assert_close(head.embed(x).permute(0, 2, 3, 1), linear)
    assert head.encoder.position.shape[1] == 9 + 1


def test_a_patch_that_cannot_be_is_said() -> None:
    with pytest.raises(BadParameter, match="patch: 2 does not divide the grid 3×3"):
        Head([4], (3, 3), 2, None, VIT, 6)


def test_predictions_come_from_the_artifact_alone_in_the_order_of_the_rows(tmp_path: Path) -> None:
    accelerator, decisions = made.machine()
    folders = [maps(tmp_path / "a"), maps(tmp_path / "b", channels=3, seed=1)]
    inputs = Inputs(folders)
    form = shape(projection=4)
    head = build_head(inputs.sources, form, VIT, 6)
    folder = artifact(tmp_path / "head", head, inputs, form)
    rows = np.array([30, 2, 2, 19])
    logits = predict(folder, folders, rows, accelerator, decisions, 3)
    with torch.no_grad():
        expected = head.eval()(*inputs.on_device(inputs.read(rows), CPU, decisions))
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-6)
    assert logits.dtype == np.float32 and np.array_equal(logits[1], logits[2])
    assert not load_head(folder)[0].training
    with pytest.raises(BadArtifact, match="was trained on"):
        predict(folder, folders[::-1], rows, accelerator, decisions, 3)
    card = json.loads((folders[0] / "card.json").read_text())
    for weights, why in (({"weights": "1" * 64}, "was trained on"), ({}, "does not say with which weights")):
        other = {key: value for key, value in card.items() if key != "weights"}
        (folders[0] / "card.json").write_text(json.dumps({**other, **weights}))
        with pytest.raises(BadArtifact, match=why):
            predict(folder, folders, rows, accelerator, decisions, 3)


def test_the_same_maps_may_come_twice_and_are_read_once(tmp_path: Path) -> None:
    folder = maps(tmp_path / "a")
    inputs = Inputs([folder, folder])
    read = inputs.read(np.arange(3))
    assert len(read) == 1 and len(inputs.sources) == 2
    x = inputs.on_device(read, CPU, DECISIONS)
    assert len(x) == 2 and torch.equal(x[0], x[1])
    assert build_head(inputs.sources, shape(), VIT, 6)(*x).shape == (3, 6)


def test_maps_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    first = maps(tmp_path / "a")
    with pytest.raises(BadArtifact, match="b: has other slices than"):
        Inputs([first, maps(tmp_path / "b", order=slice(None, None, -1))])
    with pytest.raises(BadArtifact, match="has no slice 'x'"):
        Inputs([first]).rows_of(["x"])


def test_maps_of_other_grids_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    inputs = Inputs([maps(tmp_path / "a"), maps(tmp_path / "b", grid=3)])
    with pytest.raises(BadParameter, match=r"different grids cannot be concatenated \(a 2×2, b 3×3\).*variant's grid"):
        build_head(inputs.sources, shape(), VIT, 6)
    head = build_head(inputs.sources, shape(grid=(3, 3)), VIT, 6).eval()
    assert isinstance(head, Head) and head.encoder.position.shape[1] == 9 + 1
    with torch.no_grad():
        small, large = torch.randn(2, 5, 2, 2), torch.randn(2, 5, 3, 3)
        rows = torch.tensor([[1, 0], [0.5, 0.5], [0, 1]])  # bilinear from two cells to three, by hand
        by_hand = torch.einsum("ai,ncij,bj->ncab", rows, small, rows)
        torch.testing.assert_close(head(small, large), head(by_hand, large))


def test_a_pure_vit_reads_the_slices_scaled(tmp_path: Path) -> None:
    inputs = Inputs([made.ct(tmp_path / "ct")])
    assert inputs.sources == [{"cnn": None, "channels": 3, "grid": [32, 32]}]
    raw = inputs.read(np.array([0]))
    x = inputs.on_device(raw, CPU, DECISIONS)[0]
    torch.testing.assert_close(x, to_input(raw[0], 32))
    head = build_head(inputs.sources, shape(patch=8), VIT, 6)
    assert isinstance(head, Head) and head.encoder.position.shape[1] == 16 + 1 and head(x).shape == (1, 6)
