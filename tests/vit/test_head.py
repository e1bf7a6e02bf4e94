from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.classifier import save_classifier
from corpus.card import write_card
from settings.errors import BadArtifact, BadParameter
from tests.backbones import made
from tests.vit.heads import VIT, maps
from vit.head import Head, Shape, Sources, load_head, predict


def artifact(folder: Path, head: Head, sources: Sources, projection: int | None = None) -> Path:
    folder.mkdir()
    save_classifier(head, folder)
    shapes = [list(shape) for shape in sources.shapes]
    write_card(folder, "head", shapes=shapes, patch=1, projection=projection, vit=VIT.model_dump())
    return folder


def test_projections_set_the_width_that_the_encoder_reads() -> None:
    wide, small = (Head([Shape(1024, 7, 7)] * 2, 1, p, VIT) for p in (None, 128))
    assert wide.embed.in_channels == 2048 and small.embed.in_channels == 256  # the paper's 7×7×2048 and 7×7×256
    assert small.projections is not None and len(small.projections) == 2
    assert small([torch.zeros(1, 1024, 7, 7)] * 2).shape == (1, 6)


def test_a_patch_of_one_is_a_linear_map_of_each_position() -> None:
    head = Head([Shape(4, 3, 3)], 1, None, VIT)
    x = torch.randn(2, 4, 3, 3)
    linear = x.permute(0, 2, 3, 1) @ head.embed.weight[:, :, 0, 0].T + head.embed.bias
    torch.testing.assert_close(head.embed(x).permute(0, 2, 3, 1), linear)
    assert head.encoder.position.shape[1] == 9 + 1


def test_shapes_that_cannot_be_are_said() -> None:
    with pytest.raises(BadParameter, match="unlike grids"):
        Head([Shape(4, 3, 3), Shape(4, 2, 2)], 1, None, VIT)
    with pytest.raises(BadParameter, match="patch 2 does not divide the grid 3×3"):
        Head([Shape(4, 3, 3)], 2, None, VIT)


def test_predictions_come_from_the_artifact_alone_in_the_order_of_the_rows(tmp_path: Path) -> None:
    machine = made.machine()
    folders = [maps(tmp_path / "a"), maps(tmp_path / "b", channels=3, seed=1)]
    sources = Sources(folders)
    head = Head(sources.shapes, 1, 4, VIT)
    folder = artifact(tmp_path / "head", head, sources, 4)
    rows = np.array([30, 2, 2, 19])
    logits = predict(folder, folders, rows, *machine)
    with torch.no_grad():
        expected = head.eval()(sources.to_input(sources.read(rows), torch.device("cpu")))
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-6)
    assert logits.dtype == np.float32 and np.array_equal(logits[1], logits[2])
    assert not load_head(folder)[0].training
    with pytest.raises(BadArtifact, match="was trained on maps of"):
        predict(folder, folders[::-1], rows, *machine)


def test_the_same_maps_may_come_twice(tmp_path: Path) -> None:
    folder = maps(tmp_path / "a")
    sources = Sources([folder, folder])
    one, other = sources.read(np.arange(3))
    assert torch.equal(one, other) and len(sources.shapes) == 2
    head = Head(sources.shapes, 1, None, VIT)
    assert head(sources.to_input([one, other], torch.device("cpu"))).shape == (3, 6)


def test_maps_of_other_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="b: has other slices than"):
        Sources([maps(tmp_path / "a"), maps(tmp_path / "b", order=slice(None, None, -1))])


def test_a_pure_vit_reads_the_slices_scaled(tmp_path: Path) -> None:
    sources = Sources([made.ct(tmp_path / "ct")])
    assert sources.shapes == [Shape(3, 32, 32)]
    raw = sources.read(np.array([0]))
    x = sources.to_input(raw, torch.device("cpu"))[0]
    torch.testing.assert_close(x, (raw[0].permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
    head = Head(sources.shapes, 8, None, VIT)
    assert head.encoder.position.shape[1] == 16 + 1 and head([x]).shape == (1, 6)
