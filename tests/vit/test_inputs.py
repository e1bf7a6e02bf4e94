from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.augment import random_views, to_input
from backbones.feature_cnn import FeatureCnn, build
from backbones.features import Frozen, extract, look
from backbones.fitted import write_fitted
from corpus.images import Images
from ct.labels import LABELS
from settings.errors import BadArtifact, BadParameter
from tests.backbones import made
from tests.vit.heads import TRAIN, VIT, part, shape
from training.loop import train
from vit.head import build_head, predict_logits
from vit.inputs import Inputs
from vit.train import HeadTraining

SMALL = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """CNN a (fitted on CT) and b (not), each with its maps and without."""
    root = tmp_path_factory.mktemp("features")
    found = {"ct": made.ct(root / "ct")}
    images = Images(found["ct"], "windows")
    write_fitted(root, images.index.column("id").slice(0, 12))
    for seed, (name, outputs) in enumerate((("a", 6), ("b", 1))):
        for kind, cache in (("cached", True), ("bare", False)):
            torch.manual_seed(seed)
            model = build(SMALL, outputs, 1e-5)
            tuned: Any = (LABELS, root) if name == "a" else ()
            out, work = root / f"{name}-{kind}", root / f"work-{name}-{kind}"
            out.mkdir()
            work.mkdir()
            extract(
                Frozen(name, model, SMALL, outputs, 1e-5, "layer3", *tuned),
                images,
                5,
                cache,
                work,
                out,
                *made.machine(),
            )
            found[f"{name}-{kind}"] = out
    return found


def opened(folders: dict[str, Path], kind: str, names: str = "ab", logits: bool = False) -> Inputs:
    return Inputs([folders[f"{name}-{kind}"] for name in names], logits, lambda side: folders["ct"])


@pytest.mark.parametrize(("names", "logits"), [("ab", False), ("aba", False), ("aa", True)])
def test_cnns_that_run_as_they_are_asked_give_what_was_cached(
    names: str, logits: bool, folders: dict[str, Path]
) -> None:
    """Up to one step of fp16 where another batch size makes another last bit before the same rounding."""
    accelerator, decisions = made.machine()
    rows, found = np.array([30, 2, 2, 19]), []
    for kind in ("cached", "bare"):
        inputs = opened(folders, kind, names, logits)
        found.append((inputs.sources, inputs.on_device(inputs.read(rows), accelerator.device, decisions)))
    (sources, cached), (own_sources, own) = found
    assert sources == own_sources and len(cached) == len(own) == len(names)
    for one, other in zip(cached, own, strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=2**-10, atol=1e-5)
        assert logits or torch.equal(other, other.half().float()), "rounded as the cache is"


def test_a_head_trained_either_way_answers_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    still = TRAIN.model_copy(update={"flip": False, "rotate": 0.0, "shift": 0.0})
    machine = made.machine()
    answers = []
    for kind in ("cached", "bare"):
        inputs = opened(folders, kind)
        torch.manual_seed(0)
        head = build_head(inputs.sources, shape(), VIT, len(LABELS))
        run = made.run(tmp_path / kind, 24)
        before = {
            folder: (folder / "model.safetensors").read_bytes() for folder in folders.values() if folder.name != "ct"
        }
        task = HeadTraining(head, inputs, part(12, 24), part(24, 30), still, run, *machine)
        train(task, run, *machine)
        assert before == {folder: (folder / "model.safetensors").read_bytes() for folder in before}
        answers.append(predict_logits(head, inputs, np.arange(24, 36), 4, *machine))
    np.testing.assert_allclose(answers[0], answers[1], atol=2e-3)
    assert answers[0].std() > 0.02


def test_all_cnns_see_the_same_random_view(folders: dict[str, Path]) -> None:
    """… which is what is won by not caching; and they and their statistics stay as they were."""
    accelerator, decisions = made.machine()
    inputs = opened(folders, "bare")
    pixels = inputs.read(np.arange(4))
    torch.manual_seed(5)
    seen = inputs.on_device(pixels, accelerator.device, decisions, TRAIN)
    torch.manual_seed(5)
    view = random_views(pixels[0], 32, rotate=TRAIN.rotate, shift=TRAIN.shift, flip=TRAIN.flip)
    assert not torch.allclose(view, to_input(pixels[0], 32), atol=0.01)
    for seed, outputs, found in ((0, 6, seen[0]), (1, 1, seen[1])):
        torch.manual_seed(seed)
        fresh = FeatureCnn(build(SMALL, outputs, 1e-5), "layer3")
        torch.testing.assert_close(found, look(fresh, view, decisions)[0].float(), rtol=2**-10, atol=1e-5)
    assert not any(part.requires_grad for part in seen)


def test_slices_of_a_series_are_seen_in_one_view(folders: dict[str, Path]) -> None:
    accelerator, decisions = made.machine()
    inputs = opened(folders, "bare", "a")
    pixels = [inputs.read(np.array([3]))[0].expand(4, -1, -1, -1)]
    seen = inputs.on_device(pixels, accelerator.device, decisions, TRAIN, torch.tensor([0, 0, 0, 1]))[0]
    torch.testing.assert_close(seen[:2], seen[1:3])
    assert not torch.allclose(seen[2], seen[3], atol=1e-4)


def test_what_cannot_be_read_is_said(folders: dict[str, Path]) -> None:
    with pytest.raises(BadArtifact, match="b-cached: its CNN saw no CT labels"):
        opened(folders, "cached", "ab", logits=True)
    with pytest.raises(BadParameter, match=r"extract_features\.cache"):
        Inputs([folders["a-bare"]])
