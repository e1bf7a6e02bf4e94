from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.classifier import Classifier, load_classifier, predict
from backbones.feature_cnn import build
from backbones.finetune import half
from backbones.fitting import weighted_bce
from backbones.parameters import PLAIN, CnnFinetune, CorpusPretrain
from backbones.pretrain import pretrain
from backbones.start import Start
from corpus.images import Images
from ct.labels import LABELS
from evaluation.labelled import read_labelled
from evaluation.metrics import label_weights, sigmoid, weighted_log_loss
from tests.backbones import made
from tests.training.ranks import run_two_ranks
from training.loop import train

SMALL = "test_resnet.r160_in1k"
COMMON: dict[str, Any] = {
    "images": 24, "batch": 4, "learning_rate": 0.003, "warmup_share": 0.1, "weight_decay": 0.01, "evaluate_every": 12,
    "ema_half_life": 8, "flip": True, "optimise": PLAIN, "patience": None,
}  # fmt: skip
FINETUNE = CnnFinetune(**COMMON, positive_share=None, rotate=10, shift=0.05)
PRETRAIN = CorpusPretrain(**COMMON, architecture=SMALL, side=32, label_smoothing=0.1, crop_scale=(0.5, 1.0))


def task(folder: Path, work: Path, machine: Any, every: float = 1000) -> tuple[Classifier, Any]:
    images = Images(folder / "ct", "windows")
    fit, val = (
        half(
            images,
            read_labelled(folder / f"split/labels-{part}.parquet", folder / "split/parts.parquet", part, LABELS),
            name,
        )
        for part, name in (("train", "cnn"), ("val", ""))
    )
    torch.manual_seed(0)
    run = made.run(work, 24, every=every)
    return Classifier(build(SMALL, 6, 1e-5), 32, fit, val, FINETUNE, run, *machine), run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made.ct(tmp_path / "data/ct")
    made.split(tmp_path / "data/split")
    return tmp_path / "data"


def test_the_loss_is_the_competitions() -> None:
    logits, truth = torch.randn(7, 6), torch.randint(0, 2, (7, 6))
    expected = weighted_log_loss(truth.numpy(), sigmoid(logits.numpy()), label_weights(LABELS))
    assert float(weighted_bce(logits, truth.float())) == pytest.approx(expected, rel=1e-6)
    # by hand: one slice, all logits 0 → every label costs ln 2, whatever the weights
    assert float(weighted_bce(torch.zeros(1, 6), torch.ones(1, 6))) == pytest.approx(np.log(2))


def test_norms_and_biases_are_not_decayed(data: Path, tmp_path: Path) -> None:
    trained, _ = task(data, tmp_path / "work", made.machine())
    for group in trained.optimiser.param_groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_what_is_kept_is_the_average_of_the_weights(data: Path, tmp_path: Path) -> None:
    """After each step average += (1 - decay)(weights - average), decay = 1 - step^(-2/3), at most 2^(-1/2)."""
    machine = made.machine()
    trained, _ = task(data, tmp_path / "work", machine)
    expected = {name: value.clone() for name, value in trained.model.named_parameters()}
    for step in range(4):
        trained.step(trained.read(4 * step), 4 * step)
        decay = min(1 - max(step, 1) ** (-2 / 3) if step else 0.0, 0.5**0.5)  # 4 images a step, half-life 8
        for name, value in trained.model.named_parameters():
            expected[name].lerp_(value.detach(), 1 - decay)
    trained.evaluate(16)
    assert all(torch.allclose(trained.best["weights"][name], value, atol=1e-6) for name, value in expected.items())
    assert not all(torch.equal(value, expected[name]) for name, value in trained.model.named_parameters())


def test_cnns_and_heads_are_fitted_on_different_patients(data: Path) -> None:
    images = Images(data / "ct", "windows")
    labelled = read_labelled(data / "split/labels-train.parquet", data / "split/parts.parquet", "train", LABELS)
    rows = {name: half(images, labelled, name).rows.tolist() for name in ("cnn", "head")}
    assert rows == {"cnn": list(range(12)), "head": list(range(12, 24))}


def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(data: Path, tmp_path: Path) -> None:
    machine = made.machine()
    whole, run = task(data, tmp_path / "a", machine)
    curves = train(whole, run, *machine)
    broken, run = task(data, tmp_path / "b", machine, every=0)
    step = broken.step

    def dies(batch: Any, images_seen: int) -> Any:
        if images_seen == 16:  # the part has 12 slices: in its second pass
            raise KeyboardInterrupt
        return step(batch, images_seen)

    broken.step = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(broken, run, *machine)
    resumed, run = task(data, tmp_path / "b", machine)
    assert train(resumed, run, *machine) == curves
    for state in ("model", "average", "best"):
        one, other = whole.state()[state], resumed.state()[state]
        one, other = one.get("weights", one), other.get("weights", other)
        assert one and all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_and_its_artifact_gives_the_same_answers(tmp_path: Path) -> None:
    machine = made.machine()
    corpus = made.photos(tmp_path / "photos")
    (tmp_path / "out").mkdir()
    parameters = PRETRAIN.model_copy(update={"images": 160, "evaluate_every": 80})
    curves = pretrain(corpus, Start(), parameters, made.run(tmp_path / "work", 160), tmp_path / "out", *machine)
    assert max(row["val_accuracy"] for row in curves.validation) == 1
    model, card = load_classifier(tmp_path / "out")
    images = Images(corpus)
    rows = np.arange(16, 24)
    with torch.no_grad():
        logits = model(torch.from_numpy(images.shards.read(rows)))
    assert (logits.argmax(1).numpy() == rows % 2).all() and card["val_accuracy"] == 1
    np.testing.assert_allclose(predict(model.model, images, rows, 32, 3, *machine), logits.numpy(), atol=1e-5)


RANKS = """
import sys
from pathlib import Path
import torch
from tests.backbones import made
from tests.backbones.test_classifier import task
from training.loop import train
machine = made.machine()
folder = Path(sys.argv[1])
trained, run = task(folder / "data", folder / "work", machine)
seen = []
read = trained.read
trained.read = lambda images_seen: seen.append(images_seen) or read(images_seen)
curves = train(trained, run, *machine)
rank = machine[0].process_index
end = {"model": trained.model.state_dict(), "steps": len(seen), "val": curves.validation}
torch.save(end, folder / f"end-{rank}.pt")
machine[0].end_training()
"""


def test_two_ranks_agree_on_weights_statistics_and_validation(data: Path, tmp_path: Path) -> None:
    run_two_ranks(RANKS, tmp_path)
    one, other = (torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["steps"] == other["steps"] == 6 and one["val"] == other["val"]
    assert len(list(tmp_path.glob("work/state-000000000024/rank-*.pt"))) == 2
