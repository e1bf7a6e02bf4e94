"""Every detector on a planted failure, and all of them silent on a healthy translator."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from corpus.windows import Window
from gan import figures
from gan.networks import Discriminator
from gan.validation import Scanner, of_game, of_images
from gan.watch import DETECTORS, GAME, History, Recent, alarms
from settings.errors import TrainingFailed
from tests.gan.made import disc, parameters
from tests.gan.test_figures import smooth

WATCH = parameters(watch={**parameters().watch.model_dump(), "after": 10, "fatal_after": 3}).watch
SCANNER = Scanner((Window(40, 80), Window(80, 200), Window(40, 380)), (-150.0, 230.0))
NOISE = 0.02 * torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
PHOTOS = smooth(8, seed=1) * 0.9
CTS = smooth(8, seed=2).sign() * 0.6 + 0.3 * smooth(8, seed=3)  # two tissues
HEALTHY = PHOTOS.mul(20).tanh() * 0.6 + 0.3 * PHOTOS  # the photos' layout in CT's levels
EQUILIBRIUM = torch.full((4,), 0.25)
ANSWERS = torch.tensor([0.6, 0.7, 0.4, 0.3]).reshape(
    4, 1, 1, 1
)  # of a discriminator on its own kind, then on the other


def of(
    translated: Tensor = HEALTHY, cycled: Tensor = PHOTOS + NOISE, hidden: Tensor | None = None,
    recent: Tensor = EQUILIBRIUM, answers: Tensor = ANSWERS, cts: Tensor = CTS,
) -> dict[str, float]:  # fmt: skip
    """Figures of a validation that is healthy but for what is given."""
    images = of_images(PHOTOS, cts, translated, cycled, cycled if hidden is None else hidden, SCANNER)
    return {**images, **of_game(recent, (answers, answers))}


def fired(found: dict[str, float]) -> set[str]:
    return {alarm.figure for alarm in alarms(found, WATCH)}


def test_a_healthy_translator_is_silent() -> None:
    found = of()
    assert fired(found) == set()
    assert found["levels"] < 0.5 and found["diversity"] == pytest.approx(1, rel=0.3)
    assert found["domination_ct"] == 0 and found["telling_ct"] == pytest.approx(0.3)
    assert found["hidden"] == 1 and found["hu_mean"] == pytest.approx(40, abs=30)


def test_intensity_inversion_is_reported_and_not_alarmed() -> None:
    found = of(-HEALTHY)
    assert found["correlation"] < -0.8 and fired(found) == set()


def test_identity_mapping() -> None:
    assert fired(of(PHOTOS + 0.01)) == {"change", "levels"}
    squeezed = of(PHOTOS.flip(0))  # other photos as they are: much changed, and still a photo's levels
    assert fired(squeezed) == {"levels"}


def test_mode_collapse_to_one_image() -> None:
    assert {"diversity", "likeness"} <= fired(of(HEALTHY[:1].repeat(8, 1, 1, 1) + NOISE))
    assert "diversity" in fired(of(torch.zeros_like(PHOTOS)))


def test_mode_collapse_to_one_head() -> None:
    """Each translation has its own texture inside one outline, as whole slices taught it: as diverse as CT is."""
    head = torch.from_numpy(disc(64, 0.8))
    collapsed = torch.where(head, 0.2 + 0.6 * smooth(8, seed=4), torch.tensor(-1.0))
    found = of(collapsed, cts=torch.where(head, CTS * 0.6, torch.tensor(-1.0)))
    assert "likeness" in fired(found) and "diversity" not in fired(found)


def test_discriminator_domination() -> None:
    """It finds every translation out: its loss is 0, the generator's 1."""
    recent = torch.tensor([0.01, 0.25, 0.97, 0.25])
    assert fired(of(recent=recent)) == {"domination_ct"}
    assert fired(of(recent=torch.tensor([0.12, 0.15, 0.5, 0.45]))) == set(), "ahead, as it often is"


def test_discriminator_collapse() -> None:
    """One that is worse than always ½, and one whose weights went to 0: equilibrium's loss, yet blind."""
    assert fired(of(recent=torch.tensor([0.25, 0.4, 0.25, 0.25]))) == {"confusion_photo"}
    dead = Discriminator(2, 11)
    last = dead.layers[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.5)
    with torch.no_grad():
        assert fired(of(answers=dead(torch.cat([CTS, PHOTOS])))) == {"telling_ct", "telling_photo"}


def test_checkerboard() -> None:
    wave = (torch.arange(64) % 2).float() * 2 - 1
    noisy = CTS + NOISE
    assert fired(of(HEALTHY + NOISE, cts=noisy)) == set()
    assert fired(of(HEALTHY + NOISE + wave * wave[:, None] * 4 / 127.5, cts=noisy)) == {"checkerboard"}


def test_steganography() -> None:
    """Translations that carry the photo in four levels of an outline; the way back reads them off."""
    outline = smooth(8, seed=9).sign() * 0.6
    carrying = outline + PHOTOS * 4 / 127.5

    def back(translated: Tensor) -> Tensor:
        return ((translated - outline) * 127.5 / 4).clamp(-1, 1)

    assert "hidden" in fired(of(carrying, back(carrying) + NOISE, back(figures.degraded(carrying, 6)) + NOISE))
    seen = HEALTHY / 0.9  # a way back that reads what can be seen loses next to nothing by the noise
    assert "hidden" not in fired(of(HEALTHY, PHOTOS + 0.1, PHOTOS + 0.1 + (figures.degraded(seen, 6) - seen) * 0.3))


def test_saturation() -> None:
    assert fired(of((PHOTOS * 50).clamp(-1, 1))) >= {"oversaturated"}
    as_ct = (CTS * 3).clamp(-1, 1)
    assert "oversaturated" not in fired(of((PHOTOS * 50).clamp(-1, 1), cts=as_ct)), "no more than CT itself"


def test_a_figure_that_is_not_finite_is_alarming() -> None:
    assert "cycle" not in {detector.figure for detector in DETECTORS}
    assert "hidden" in fired(of(hidden=PHOTOS * float("nan")))


def test_a_warning_names_figure_value_threshold_and_knob() -> None:
    (alarm,) = alarms(of(recent=torch.tensor([0.0, 0.25, 1.0, 0.25])), WATCH)
    assert alarm.line == (
        "discriminator domination: domination_ct is 1 (generator's loss minus loss of CT's discriminator; at most "
        "gan_train.watch.domination 0.7): lower gan_train.ndf or gan_train.learning_rate"
    )


def test_every_threshold_is_a_parameter() -> None:
    assert {detector.threshold for detector in DETECTORS} <= set(type(WATCH).model_fields)


def test_history_waits_counts_and_ends_a_training_that_is_lost(tmp_path: Path) -> None:
    won = of(recent=torch.tensor([0.0, 0.25, 1.0, 0.25]))
    history = History([])
    assert not history.judge(won, 9, WATCH, "gan-train"), "before watch.after"
    for images, figures_ in ((10, won), (20, won), (30, of()), (40, won), (50, won)):
        history.judge(figures_, images, WATCH, "gan-train")
    assert history.failing == 2, "a good validation between them starts the count anew"
    history = History(**vars(history))
    with pytest.raises(TrainingFailed, match=r"3 validations in a row, the last at 60 images.*gan_train\.ndf"):
        history.judge(won, 60, WATCH, "gan-train")
    never = WATCH.model_copy(update={"fatal_after": 0})
    assert [alarm.figure for alarm in history.judge(won, 70, never, "gan-train")] == ["domination_ct"]
    history.write(tmp_path / "warnings.csv")
    with (tmp_path / "warnings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["10", "20", "40", "50", "60", "70"]
    assert rows[0] == {
        "images": "10", "detector": "discriminator domination", "figure": "domination_ct", "value": "1",
        "threshold": "0.7", "advice": "lower gan_train.ndf or gan_train.learning_rate",
    }  # fmt: skip


def test_recent_means_forget_by_half_lives() -> None:
    recent = Recent(decay=0.5)
    assert recent.means().isnan().all()
    for value in (4.0, 0.0, 2.0):
        recent.add({name: torch.tensor(value + place) for place, name in enumerate(GAME)})
    expected = (4 * 0.25 + 0 * 0.5 + 2 * 1) / 1.75
    torch.testing.assert_close(recent.means(), expected + torch.arange(4.0))
    other = Recent(decay=0.5)
    other.restore(recent.state(), torch.device("cpu"))
    assert torch.equal(other.means(), recent.means())
    other.restore({}, torch.device("cpu"))
    assert other.sums is None
