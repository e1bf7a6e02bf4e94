import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from backbones.augment import to_input
from backbones.feature_cnn import FeatureCnn, build
from backbones.features import Frozen, extract
from corpus.card import read_card
from corpus.images import Images
from corpus.shards import Shards
from settings.errors import BadArtifact
from tests.backbones import made

SMALL = "test_resnet.r160_in1k"


def cnn() -> nn.Module:
    torch.manual_seed(0)
    return build(SMALL, 0, 1e-5)


def run(root: Path, out: str, model: nn.Module, work: str = "work") -> Path:
    for folder in (root / work, root / out):
        folder.mkdir(exist_ok=True)
    if not (root / "ct").exists():
        made.ct(root / "ct")
    images = Images(root / "ct", "windows")
    frozen = Frozen("a", model, SMALL, 0, 1e-5, "layer3")
    extract(frozen, images, 4, True, root / work, root / out, *made.machine())
    return root / out


def test_every_slice_has_its_map_in_the_order_of_the_images(tmp_path: Path) -> None:
    model = cnn()
    out = run(tmp_path, "out", model)
    shards, images = Shards(out, "maps"), Images(tmp_path / "ct")
    assert shards.dtype == np.float16 and len(shards) == len(images) == 36
    rows = np.array([35, 0, 21])
    expected = FeatureCnn(model, "layer3")(to_input(torch.from_numpy(images.shards.read(rows)), 32)).half().numpy()
    np.testing.assert_allclose(shards.read(rows), expected, rtol=2e-3, atol=2e-3)
    card = read_card(out, "features")
    assert [card["count"], card["channels"], *card["grid"]] == [36, *expected.shape[1:]]
    assert pq.read_table(out / "index.parquet")["id"].to_pylist() == made.ids()


def test_whole_shards_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path, "first", cnn())
    paths = sorted((tmp_path / "work").glob("maps-*.npy"))
    assert len(paths) >= 12, "enough shards for many ranks, whatever their number"
    kept = {path: path.stat().st_mtime_ns for path in paths[1:]}
    paths[0].unlink()
    again = run(tmp_path, "again", cnn())
    assert {path: path.stat().st_mtime_ns for path in paths[1:]} == kept
    everything = np.arange(36)
    np.testing.assert_array_equal(Shards(first, "maps").read(everything), Shards(again, "maps").read(everything))


def test_shards_are_copied_where_links_are_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert len(Shards(run(tmp_path, "out", cnn()), "maps")) == 36


def test_a_broken_network_gives_no_maps(tmp_path: Path) -> None:
    model = cnn()
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(BadArtifact, match="not finite"):
        run(tmp_path, "out", model)
