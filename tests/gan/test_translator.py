"""The step against the textbook, and what its options change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from gan.losses import return_trip
from gan.networks import Discriminator, Generator
from gan.translator import Translator
from tests.gan.made import images, machine, make_sources, make_task, parameters
from training.precision import has_compiler

Judge = Callable[[Tensor], Tensor]


def judge(windows: Tensor) -> Tensor:
    """A classifier whose answers are the windows' means over the upper, left and whole image."""
    upper, left = windows[:, :, :16].mean((2, 3)), windows[..., :16].mean((2, 3))
    return torch.stack([upper[:, 0], left[:, 1], windows.mean((1, 2, 3))], 1) * 5


def three_windows(ct: Tensor) -> Tensor:
    """By the formula: -150…230 HU in brain, subdural and soft-tissue windows, each -1…1."""
    hu = (ct + 1) / 2 * 380 - 150
    return torch.cat(
        [((hu - low) / (high - low)).clamp(0, 1) * 2 - 1 for low, high in ((0, 80), (-20, 180), (-150, 230))], 1
    )


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def textbook(task: Translator, x: Tensor, y: Tensor, judge: Judge, labels: Tensor) -> dict[str, Tensor]:
    """CycleGAN as its paper writes it: a call for each image and each role, every loss by its formula."""
    g, f, dy, dx = task.generators.to_ct, task.generators.to_photo, task.discriminators.ct, task.discriminators.photo
    fake_y, fake_x = g(x), f(y)
    cycle_x = f(return_trip(fake_y, task.parameters.noise_sd, True))
    cycle_y = g(return_trip(fake_x, task.parameters.noise_sd, True))
    generators = ((dy(fake_y) - 1) ** 2).mean() + ((dx(fake_x) - 1) ** 2).mean()
    generators = generators + 10 * ((cycle_x - x).abs().mean() + (cycle_y - y).abs().mean())
    generators = generators + 5 * ((g(y) - y).abs().mean() + (f(x) - x).abs().mean())
    if task.parameters.consistency:
        chances = judge(fake_y).log_softmax(1)
        generators = generators - task.parameters.consistency * chances[torch.arange(len(labels)), labels].mean()
    task.optimisers["generators"].zero_grad()
    generators.backward()
    task.optimisers["discriminators"].zero_grad()
    ct = (((dy(y) - 1) ** 2).mean() + (dy(fake_y.detach()) ** 2).mean()) / 2
    photo = (((dx(x) - 1) ** 2).mean() + (dx(fake_x.detach()) ** 2).mean()) / 2
    (ct + photo).backward()
    return {"generators": generators, "discriminator_ct": ct, "discriminator_photo": photo}


@pytest.mark.parametrize("change", [{}, {"upsampling": "transposed"}, {"channels": 3}, {"consistency": 2.0}])
def test_batched_step_equals_the_textbooks_separate_calls(tmp_path: Path, change: dict[str, Any]) -> None:
    task = make_task(tmp_path, tmp_path / "work", judge, pool=0, **change)
    x, y = (images(2, 32, seed, task.parameters.channels) for seed in (1, 2))
    labels = torch.tensor([2, 0])
    torch.manual_seed(9)
    expected = textbook(task, x, y, lambda ct: judge(three_windows(ct)), labels)
    wanted = gradients(task.generators), gradients(task.discriminators)

    torch.manual_seed(9)
    made, losses = task.generator_losses(x, y, labels)
    task.optimisers["generators"].zero_grad()
    task.optimisers["discriminators"].zero_grad()
    losses["generators"].backward()  # type: ignore[no-untyped-call]
    assert not gradients(task.discriminators), "the generators' step leaves no gradient on discriminators"
    losses |= task.discriminator_losses(x, y, made.ct.detach(), made.photo.detach())
    (losses["discriminator_ct"] + losses["discriminator_photo"]).backward()  # type: ignore[no-untyped-call]

    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name
    for network, grads in zip((task.generators, task.discriminators), wanted, strict=True):
        found = gradients(network)
        assert len(found) == len(grads) == len(list(network.parameters()))
        for a, b in zip(found, grads, strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def step_losses(tmp_path: Path, **change: Any) -> dict[str, float]:
    task = make_task(tmp_path, tmp_path / "work", **change)
    torch.manual_seed(4)
    return {name: float(value) for name, value in task.step(task.read(0), 0).items()}


def test_consistency_pulls_translations_to_the_classifiers_answer(tmp_path: Path) -> None:
    """Only with a weight above 0, through the windows, and to the photo's own class."""
    assert "consistency" not in step_losses(tmp_path)

    def pulled(label: int) -> float:
        task = make_task(tmp_path, tmp_path / "work", judge, consistency=1000.0)
        photos, cts, _ = task.views(task.read(0))
        labels = torch.full((2,), label)
        with torch.no_grad():
            before = task.generator_losses(photos, cts, labels)[1]["consistency"]
        task.views = lambda batch: (photos, cts, labels)
        task.step(None, 0)
        with torch.no_grad():
            return float(task.generator_losses(photos, cts, labels)[1]["consistency"] - before)

    assert pulled(0) < 0 and pulled(1) < 0
    with pytest.raises(AssertionError, match="needs a classifier"):
        make_task(tmp_path, tmp_path / "work", consistency=1.0)


def test_three_channels_are_rgb_and_the_three_windows_of_the_same_views(tmp_path: Path) -> None:
    views = []
    for channels in (1, 3):
        task = make_task(tmp_path, tmp_path / "work", channels=channels)
        torch.manual_seed(5)
        with patch("gan.crops.dithered", lambda images: images):
            views.append(task.views(task.read(0)))
    (luma, hu, labels), (rgb, windows, again) = views
    assert torch.allclose(
        (rgb * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True), luma, atol=1e-5
    )
    assert torch.allclose(three_windows(hu), windows, atol=1e-4) and windows.shape == (2, 3, 32, 32)
    assert torch.equal(labels, again) and set(labels.tolist()) <= {0, 1}
    losses = step_losses(tmp_path, channels=3)
    assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())


def test_weights_of_the_objective_weigh(tmp_path: Path) -> None:
    whole = step_losses(tmp_path)
    parts = {
        name: sum(whole[f"{name}_{kind}"] for kind in ("ct", "photo")) for name in ("adversarial", "cycle", "identity")
    }
    assert whole["generators"] == pytest.approx(
        parts["adversarial"] + 10 * parts["cycle"] + 5 * parts["identity"], rel=1e-5
    )
    bare = step_losses(tmp_path, identity=0, cycle=0)
    assert "identity_ct" not in bare and bare["generators"] == pytest.approx(parts["adversarial"], rel=1e-4)


def test_noise_reaches_the_return_trip_alone(tmp_path: Path) -> None:
    plain, noisy = step_losses(tmp_path, noise_sd=0), step_losses(tmp_path, noise_sd=100)
    assert plain["cycle_photo"] != noisy["cycle_photo"]
    assert plain["identity_ct"] == noisy["identity_ct"] and plain["adversarial_ct"] == noisy["adversarial_ct"]


def test_learning_rate_is_constant_then_linear_in_images(tmp_path: Path) -> None:
    task = make_task(tmp_path, tmp_path / "work")
    for seen, share in ((0, 1.0), (12, 1.0), (18, 0.5), (22, 1 / 6)):
        task.step(task.read(seen), seen)
        for optimiser in task.optimisers.values():
            assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-3 * share)


def test_averaged_weights_follow_and_full_views_are_whole_slices(tmp_path: Path) -> None:
    task = make_task(tmp_path, tmp_path / "work", ct_view="full", ct_rotate=0, ct_flip=False)
    before = [p.clone() for p in task.averaged.module.parameters()]
    for seen in (0, 2, 4):
        task.step(task.read(seen), seen)
    after = list(task.averaged.module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(after, task.generators.parameters(), strict=True))
    _, slices, _ = task.views(task.read(0))
    assert slices[:, :, 0, 0].max() <= -1 + 1 / 255, "a whole slice has air in its corner, dithered"


def test_only_train_rows_are_sources(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, parameters())
    assert sources.photo_rows.tolist() == list(range(10)) and sources.ct_rows.tolist() == list(range(5))


def tiny_steps(**how: Any) -> tuple[list[dict[str, float]], list[str]]:
    """Losses of two steps on 16² images, and the names of the generators' weights."""
    accelerator, decisions = machine()
    chosen = parameters(side=16, field_share=1, ngf=2, ndf=2, identity=0, pool=0, noise_sd=0, round_fakes=False)
    batch = images(2, 16, 1), images(2, 16, 2), torch.zeros(2, dtype=torch.int64)
    unwatched: Any = None  # steps alone are never validated
    task = Translator(chosen, 0, accelerator, replace(decisions, **how), lambda _: None, lambda _: batch, unwatched)
    losses = [{name: float(value) for name, value in task.step(None, seen).items()} for seen in (0, 2)]
    return losses, list(task.generators.state_dict())


def test_a_step_in_bf16_equals_fp32_to_its_precision() -> None:
    for exact, coarse in zip(tiny_steps()[0], tiny_steps(precision="bf16")[0], strict=True):
        assert coarse == pytest.approx(exact, rel=0.05)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler, and there is none here")
def test_a_compiled_step_equals_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses of two steps to 1e-3, though the first has moved the weights; names of weights stay.

    Compiled is one generator, on one size of batch: each further graph would cost this test as much again.
    """
    compiled_generators: list[Generator] = []
    real = Generator.compile

    def once(self: Generator, **options: Any) -> None:
        if not compiled_generators:
            compiled_generators.append(self)
            real(self, **options)

    monkeypatch.setattr(Generator, "compile", once)
    monkeypatch.setattr(Discriminator, "compile", lambda self, **options: None)
    (eager, names), (compiled, same) = tiny_steps(), tiny_steps(compiled=True)
    assert len(compiled_generators) == 1
    assert names == same
    for one, other in zip(eager, compiled, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
