"""The options of a training, each by what it changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backbones.classifier import Classifier, Examples
from backbones.feature_cnn import build
from backbones.finetune import finetune
from backbones.freeze import freeze
from backbones.parameters import PLAIN, Cnn, CnnFinetune
from backbones.start import Start
from corpus.images import Images
from ct.labels import LABELS
from evaluation.labelled import Labelled, read_labelled
from settings.errors import BadParameter
from tests.backbones import made
from tests.backbones.stages import CNN, FINETUNE, SMALL
from training.loop import Run
from training.schedule import warmup_cosine

NO_BATCHNORM = "test_convnext"
STILL = {**FINETUNE, "rotate": 0, "shift": 0, "flip": False, "weight_decay": 0.0}


def still(**optimise: Any) -> CnnFinetune:
    """Without random views, so that two trainings see the same pixels."""
    return CnnFinetune(**{**STILL, "optimise": PLAIN.model_copy(update=optimise)})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(made.ct(tmp_path_factory.mktemp("data") / "ct"), "windows")


def task(images: Images, work: Path, parameters: CnnFinetune, architecture: str = SMALL, until: str = "") -> Classifier:
    torch.manual_seed(0)
    model = build(architecture, 6, 1e-5)
    frozen = freeze(model, until) if until else []
    examples = Examples(images, np.arange(12), made.labels()[:12].astype(np.float32))
    accelerator, decisions = made.machine()
    run = made.run(work, 24)
    return Classifier(model, 32, examples, examples, parameters, run, accelerator, decisions, frozen)


def steps(trained: Classifier, count: int = 1) -> dict[str, torch.Tensor]:
    """The change of every tensor over some steps at the full rate."""
    before = {name: value.clone() for name, value in trained.model.state_dict().items()}
    for step in range(count):
        torch.manual_seed(step)
        trained.step(trained.read(4 * step), 4 * step)
    return {name: value - before[name] for name, value in trained.model.state_dict().items()}


def test_a_batch_in_parts_is_the_batch_as_one(images: Images, tmp_path: Path) -> None:
    """Up to rounding, in a network without BatchNorm, under an optimiser that is linear in the gradient."""
    whole = steps(task(images, tmp_path, still(optimiser="sgd"), NO_BATCHNORM))
    parts = steps(task(images, tmp_path, still(optimiser="sgd", accumulate=4), NO_BATCHNORM))
    assert any(bool(change.abs().max() > 0) for change in whole.values())
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-3, atol=1e-8) for name in whole)


def test_parts_must_be_equal() -> None:
    with pytest.raises(ValueError, match="accumulate: 3 does not divide batch 4"):
        still(accumulate=3)


def test_a_clipped_step_is_as_long_as_its_norm(images: Images, tmp_path: Path) -> None:
    """The first step of Nesterov's SGD is rate · 1.9 · gradient."""
    trained = task(images, tmp_path, still(optimiser="sgd", clip_norm=0.001), NO_BATCHNORM)
    change = torch.cat([value.flatten() for value in steps(trained).values()])
    rate = STILL["learning_rate"] * warmup_cosine(0, 24, 2)
    assert float(change.norm()) == pytest.approx(rate * 1.9 * 0.001, rel=1e-3)


@pytest.mark.parametrize(
    ("architecture", "until", "front", "statistics"),
    [
        (SMALL, "layer2", ("conv1", "bn1", "layer1", "layer2"), True),
        ("test_efficientnet", "blocks.1", ("conv_stem", "bn1", "blocks.0", "blocks.1"), True),  # norms have children
        (NO_BATCHNORM, "stages.1", ("stem", "stages.0", "stages.1"), False),  # blocks have a parameter of their own
    ],
)
def test_what_is_frozen_keeps_weights_and_statistics(
    images: Images, tmp_path: Path, architecture: str, until: str, front: tuple[str, ...], statistics: bool
) -> None:
    trained = task(images, tmp_path, still(), architecture, until)
    changes = steps(trained, 3)
    moved = {name for name, change in changes.items() if bool(change.abs().max() > 0)}
    assert moved == {name for name in changes if not name.startswith(tuple(f"{part}." for part in front))}
    assert any("running_mean" in name for name in changes.keys() - moved) == statistics
    average = trained.average.module.state_dict()
    assert all(torch.equal(average[name], trained.model.state_dict()[name]) for name in changes.keys() - moved)


def test_the_balanced_pass_is_of_the_asked_share(images: Images, tmp_path: Path) -> None:
    parameters = CnnFinetune(**{**STILL, "positive_share": 0.75})
    trained = task(images, tmp_path, parameters)
    seen = torch.cat([trained.read(start)[1][:, -1] for start in range(0, 24, 4)])
    assert float(seen.mean()) == 0.75 and made.labels()[:12, -1].mean() == 0.5


def test_the_best_weights_are_kept_and_the_last_are_in_the_state(images: Images, tmp_path: Path) -> None:
    trained = task(images, tmp_path, still())
    judged = iter([0.9, 0.4, 0.6])
    trained.judge = lambda: {"loss": next(judged)}  # type: ignore[method-assign]
    averages = []
    for step in range(3):
        trained.step(trained.read(4 * step), 4 * step)
        trained.evaluate(4 * step + 4)
        averages.append({name: value.clone() for name, value in trained.average.module.state_dict().items()})
    assert trained.best["images"] == 8 and trained.best["loss"] == 0.4
    assert all(torch.equal(trained.best["weights"][name], averages[1][name]) for name in averages[1])
    assert torch.equal(trained.state()["average"]["fc.weight"], averages[2]["fc.weight"])
    assert not torch.equal(averages[1]["fc.weight"], averages[2]["fc.weight"])


def labelled(part: str, folder: Path) -> Labelled:
    return read_labelled(folder / f"labels-{part}.parquet", folder / "parts.parquet", part, LABELS)


def test_it_ends_early_and_says_where(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.split(tmp_path / "split")
    (tmp_path / "out").mkdir()
    judged = iter([0.5, 0.7, 0.6, 0.4])
    monkeypatch.setattr(Classifier, "judge", lambda self: {"loss": next(judged)})
    run = Run("training", tmp_path / "work", 32, 4, 3, evaluate_every=4, save_every_seconds=1000, patience=2)
    train, val = (labelled(part, tmp_path / "split") for part in ("train", "val"))
    parameters = CnnFinetune(**{**FINETUNE, "images": 32})
    given = (images, train, val, LABELS, Cnn(**CNN), Start(), parameters, run, tmp_path / "out", *made.machine())
    curves = finetune("a", *given)
    assert [row["images"] for row in curves.validation] == [4, 8, 12], "two validations without a lower loss"
    assert (tmp_path / "out/scores.png").read_bytes().startswith(b"\x89PNG")
    first = load_file(tmp_path / "out/model.safetensors")
    again = finetune("a", *given)  # from the state: nothing is judged or trained any more
    assert again == curves and next(judged) == 0.4
    assert all(torch.equal(value, first[name]) for name, value in load_file(tmp_path / "out/model.safetensors").items())


def test_a_stage_that_is_none_is_said_before_training(images: Images, tmp_path: Path) -> None:
    made.split(tmp_path / "split")
    train, val = (labelled(part, tmp_path / "split") for part in ("train", "val"))
    cnn, parameters = Cnn(**{**CNN, "stage": "layer9"}), CnnFinetune(**FINETUNE)
    with pytest.raises(BadParameter, match="no module 'layer9'"):
        finetune(
            "a", images, train, val, LABELS, cnn, Start(), parameters, made.run(tmp_path, 8), tmp_path, *made.machine()
        )
    assert not list(tmp_path.glob("state-*"))
