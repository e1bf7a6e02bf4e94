"""The whole training: resumed equals uninterrupted, and what it writes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from corpus.images import finish_images
from corpus.shards import write_shard
from corpus.windows import to_windows
from evaluation.kid import kid
from gan.networks import BACK, load_generator
from gan.samples import to_levels
from gan.train import make_translator, open_sources, train_translator
from gan.translator import Translator
from settings.errors import BadParameter, TrainingFailed
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
    """Weights, averages, Adam's moments, pools, warnings and recent losses, bit for bit; 24 images are 2.4 passes over
    the photos."""
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
    assert whole.look.state() == resumed.look.state() and whole.look.state()["warnings"], (
        "untrained networks are warned of"
    )
    assert torch.equal(whole.recent.means(), resumed.recent.means()) and whole.recent.means().isfinite().all()
    assert len(ends[0]) > 100 and whole.pools["ct"].images is not None
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert again == curves
    assert not all(torch.equal(a, b) for a, b in zip(ends[0], everything(broken), strict=True))


def test_a_discriminator_that_has_won_for_good_ends_the_training_and_leaves_the_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations at 8, 16 and 24 images; from 10 images on CT's discriminator finds out everything."""
    watch = {**parameters().watch.model_dump(), "fatal_after": 2, "half_life": 1}
    task = make_task(tmp_path, tmp_path / "work", watch=watch)
    step = task.step

    def won(batch: object, images_seen: int) -> dict[str, torch.Tensor]:
        losses = step(batch, images_seen)
        if images_seen >= 10:
            task.recent.add({**losses, "discriminator_ct": torch.tensor(0.0), "adversarial_ct": torch.tensor(1.0)})
            task.recent.add({**losses, "discriminator_ct": torch.tensor(0.0), "adversarial_ct": torch.tensor(1.0)})
        return losses

    monkeypatch.setattr(task, "step", won)
    with pytest.raises(TrainingFailed, match=r"gan-train: 2 validations in a row, the last at 24 .*gan_train\.ndf"):
        train(task, make_run(tmp_path / "work", parameters()), *machine())
    assert [path.name for path in (tmp_path / "work").glob("state-*")] == ["state-000000000008"]
    again = make_task(tmp_path, tmp_path / "work", watch=watch)
    curves = train(again, make_run(tmp_path / "work", parameters()), *machine())
    assert [row["failing"] for row in curves.validation] == [0, 0, 0]


def test_kid_is_of_held_out_photos_and_val_patients(tmp_path: Path) -> None:
    """Against features that are the mean level: all that is held out is white."""
    shown = []

    def extract(images: np.ndarray) -> np.ndarray:
        shown.append(images)
        return images.reshape(len(images), -1).astype(np.float32)[:, ::64]

    chosen, out = parameters(), tmp_path / "out"
    out.mkdir()
    sources, (accelerator, decisions) = make_sources(tmp_path, chosen), machine()
    curves = train_translator(sources, chosen, make_run(tmp_path / "w", chosen), out, accelerator, decisions, extract)
    assert len(shown) == 1 + 3 and {images.shape for images in shown} == {(4, 32, 32, 3)}
    assert (shown[0] == 255).all() and sources.val_patients(sources.val_rows) == ["p2", "p3", "p3", "p4"]
    generator, _ = load_generator(out)
    with torch.no_grad():
        white = to_levels(generator(torch.ones(4, 1, 32, 32)))
    np.testing.assert_array_equal(shown[-1], to_windows(white, sources.ct.windows(), -150, 230))
    expected = kid(extract(shown[-1]), extract(shown[0]))
    assert curves.validation[-1]["kid"] == expected and curves.validation[-1]["kid_floor"] == 0
    assert "kid,kid_floor,warnings,failing" in (out / "validation.csv").read_text().splitlines()[0]


def test_without_val_slices_there_is_no_kid(tmp_path: Path) -> None:
    make_sources(tmp_path, parameters())
    folder = tmp_path / "artifacts"
    sources = open_sources(folder / "photos", folder / f"ct/hu-{HU_SIDE}", ["s0", "s1"], ["s8"], parameters())
    accelerator, decisions = machine()
    run = make_run(tmp_path / "w", parameters())
    task = make_translator(sources, parameters(), run, accelerator, decisions, lambda x: x.astype(np.float32))
    assert "kid" not in task.evaluate(0)


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
