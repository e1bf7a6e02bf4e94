import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from backbones.augment import to_input
from backbones.feature_cnn import FeatureCnn, build
from backbones.features import Frozen, extract, freeze, load_frozen, look
from backbones.fitted import write_fitted
from corpus.card import read_card
from corpus.images import Images
from corpus.shards import Shards
from ct.labels import LABELS
from settings.errors import BadArtifact
from settings.places import ROOT
from tests.backbones import made
from tests.training.ranks import run_two_ranks
from training.precision import decide

SMALL = "test_resnet.r160_in1k"


def cnn(outputs: int = 0) -> nn.Module:
    torch.manual_seed(0)
    return build(SMALL, outputs, 1e-5)


def run(root: Path, out: str, model: nn.Module, work: str = "work", labels: bool = False, cache: bool = True) -> Path:
    for folder in (root / work, root / out):
        folder.mkdir(exist_ok=True)
    if not (root / "ct").exists():
        made.ct(root / "ct")
    images = Images(root / "ct", "windows")
    if labels:
        write_fitted(root, images.index.column("id").slice(0, 12))
    frozen = Frozen("a", model, SMALL, *((6, 1e-5, "layer3", LABELS, root) if labels else (0, 1e-5, "layer3")))
    extract(frozen, images, 4, cache, root / work, root / out, *made.machine())
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


RANKS = """
import sys
from pathlib import Path
from tests.backbones.test_features import cnn, run
root = Path(sys.argv[1])
run(root, "two", cnn(6), "work-two", labels=True)
"""


def test_two_ranks_write_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte: shards and batches are the same, whoever computes them, at one thread each."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    one = run(tmp_path, "one", cnn(6), labels=True)
    (tmp_path / "work-two").mkdir()
    (tmp_path / "two").mkdir()
    run_two_ranks(RANKS, tmp_path)
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir()) and len(names) > 24
    for name in names:
        assert (one / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


KILLED = """
import os, signal, sys
from pathlib import Path
from backbones import features
from tests.backbones.test_features import cnn, run
write, seen = features.write_shard, []
def dies(folder, number, rows, prefix):
    if len(seen) == 5:  # between the logits and the maps of the third shard
        os.kill(os.getpid(), signal.SIGKILL)
    seen.append(number)
    return write(folder, number, rows, prefix)
features.write_shard = dies
run(Path(sys.argv[1]), "out", cnn(6), labels=True)
"""


def test_killed_and_run_again_equals_uninterrupted(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, tmp_path / "killed.py", tmp_path], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and not (tmp_path / "out/card.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").glob("maps-*.npy")}
    assert len(kept) == 2
    again = run(tmp_path, "out", cnn(6), labels=True)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    (tmp_path / "fresh").mkdir()
    whole = run(tmp_path, "whole", cnn(6), "fresh", labels=True)
    for path in whole.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_logits_and_maps_are_those_of_the_whole_cnn_and_it_stays_frozen(tmp_path: Path) -> None:
    model = cnn(6)
    out = run(tmp_path, "out", model, labels=True)
    x = to_input(torch.from_numpy(Images(tmp_path / "ct").shards.read(np.arange(36))), 32)
    with torch.no_grad():
        np.testing.assert_allclose(Shards(out, "logits").read(np.arange(36)), model(x).numpy(), atol=1e-5)
    frozen, card = load_frozen(out)
    assert card["labels"] == list(LABELS) and card["cnn"] == "a"
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert any("running_mean" in name for name in before)
    for network in (frozen, freeze(cnn(6), "layer3", False)):
        network.train()
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
    found, answers = look(frozen, 5 * x, decide("cpu", "fp32"))
    assert found.dtype == torch.float16 and answers is not None and answers.shape == (36, 6)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


@pytest.mark.parametrize(("architecture", "stage"), [("legacy_xception", "bn3"), ("resnet10t", "bn1")])
def test_a_map_is_the_same_with_logits_and_without(architecture: str, stage: str) -> None:
    """At stages that an in-place activation follows; without logits nothing behind the cut runs."""
    torch.manual_seed(0)
    model = build(architecture, 6, 1e-5)
    x = torch.randn(2, 3, 64, 64)
    found, _ = freeze(model, stage, True)(x)
    assert torch.equal(found, freeze(model, stage, False)(x)) and bool((found < 0).any())


def test_without_a_cache_the_cnn_is_all_that_is_kept(tmp_path: Path) -> None:
    out = run(tmp_path, "out", cnn(6), labels=True, cache=False)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["card.json", "fitted.parquet", "index.parquet", "model.safetensors"]
    assert not read_card(out)["cached"] and not list((tmp_path / "work").iterdir())


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
