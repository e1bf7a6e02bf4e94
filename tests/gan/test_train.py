"""The whole training: resumed equals uninterrupted, and what it writes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from corpus.images import finish_images
from corpus.shards import write_shard
from gan.networks import BACK, load_generator
from gan.train import open_sources, train_translator
from gan.translator import Translator
from settings.errors import BadParameter
from tests.gan.made import HU_SIDE, machine, make_run, make_sources, make_task, parameters
from training.loop import train


def flat(value: object) -> list[torch.Tensor]:
    """Every tensor and number of a state, in order."""
    if isinstance(value, dict):
        return [t for key in sorted(value, key=str) for t in flat(value[key])]
    if isinstance(value, list | tuple):
        return [t for part in value for t in flat(part)]
    if isinstance(value, torch.Tensor):
        return [value]
    return [torch.tensor(float(value))] if isinstance(value, int | float) else []


def everything(task: Translator) -> list[torch.Tensor]:
    return flat(task.state()) + flat(task.own_state())


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, averages, Adam's moments and pools, bit for bit; 24 images are 2.4 passes over the photos."""
    run = make_run(tmp_path / "a", parameters())
    whole = make_task(tmp_path, tmp_path / "a")
    curves = train(whole, run, *machine())

    broken = make_task(tmp_path, tmp_path / "b")
    original, steps = broken.step, iter(range(7))

    def step(batch: object, images_seen: int) -> dict[str, torch.Tensor]:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return original(batch, images_seen)

    monkeypatch.setattr(broken, "step", step)
    with pytest.raises(KeyboardInterrupt):
        train(broken, make_run(tmp_path / "b", parameters()), *machine())
    resumed = make_task(tmp_path, tmp_path / "b")
    again = train(resumed, make_run(tmp_path / "b", parameters()), *machine())

    ends = everything(whole), everything(resumed)
    assert len(ends[0]) > 100 and whole.pools["ct"].images is not None
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert again == curves
    assert not all(torch.equal(a, b) for a, b in zip(ends[0], everything(broken), strict=True))


def test_artifact_holds_the_averaged_generators_and_is_deterministic(tmp_path: Path) -> None:
    outs = []
    for name in ("one", "two"):
        out = tmp_path / name
        out.mkdir()
        chosen = parameters()
        curves = train_translator(
            make_sources(tmp_path, chosen), chosen, make_run(tmp_path / f"w-{name}", chosen), out, *machine()
        )
        outs.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert outs[0] == outs[1]
    grids = {f"samples-{images:09d}.png" for images in (8, 16, 24)}
    assert (
        set(outs[0])
        == {"card.json", "generator.safetensors", BACK, "training.csv", "validation.csv", "warnings.csv"} | grids
    )
    assert [row["images"] for row in curves.validation] == [8, 16, 24]
    generator, card = load_generator(out)
    assert card["hu_range"] == [-150.0, 230.0] and card["images"] == 24 and (card["photos"], card["slices"]) == (10, 5)
    task = make_task(tmp_path, tmp_path / "w-two")
    train(task, make_run(tmp_path / "w-two", parameters()), *machine())  # finished: restores the state
    for a, b in zip(generator.parameters(), task.averaged.module.to_ct.parameters(), strict=True):
        assert torch.equal(a, b)


def test_too_small_slices_are_refused_with_a_remedy(tmp_path: Path) -> None:
    make_sources(tmp_path, parameters())
    with pytest.raises(BadParameter, match=r"36 px needs slices of 72 px .*prepare_ct\.hu_side is 64; raise hu_side"):
        make_sources(tmp_path, parameters(side=36))
    with pytest.raises(BadParameter, match=r"more than photos have \(40\)"):
        make_sources(tmp_path, parameters(side=64, ct_view="full"))


def test_slices_without_tissue_are_left_out_of_crops(tmp_path: Path) -> None:
    make_sources(tmp_path, parameters())
    folder = tmp_path / "empty"
    folder.mkdir()
    slices = np.zeros((4, HU_SIDE, HU_SIDE, 1), dtype=np.uint8)
    slices[1, 16:48, 16:48] = 128
    write_shard(folder, 0, slices)
    ids = [f"s{i}" for i in range(4)]
    finish_images(folder, "hu", pa.table({"id": ids}), [], hu_range=[-150, 230], windows=[[40, 80]] * 3)
    assert open_sources(tmp_path / "artifacts/photos", folder, ids, [], parameters()).ct_rows.tolist() == [1]
    full = open_sources(tmp_path / "artifacts/photos", folder, ids, [], parameters(ct_view="full"))
    assert full.ct_rows.tolist() == [0, 1, 2, 3]
    assert pq.read_table(folder / "index.parquet").num_rows == 4
