"""The step against the textbook, and what its options change."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan.losses import return_trip
from gan.translator import Translator
from tests.gan.made import images, make_sources, make_task, parameters


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def textbook(task: Translator, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """CycleGAN as its paper writes it: a call for each image and each role, every loss by its formula."""
    g, f, dy, dx = task.generators.to_ct, task.generators.to_photo, task.discriminators.ct, task.discriminators.photo
    fake_y, fake_x = g(x), f(y)
    cycle_x = f(return_trip(fake_y, task.parameters.noise_sd, True))
    cycle_y = g(return_trip(fake_x, task.parameters.noise_sd, True))
    generators = ((dy(fake_y) - 1) ** 2).mean() + ((dx(fake_x) - 1) ** 2).mean()
    generators = generators + 10 * ((cycle_x - x).abs().mean() + (cycle_y - y).abs().mean())
    generators = generators + 5 * ((g(y) - y).abs().mean() + (f(x) - x).abs().mean())
    task.optimisers["generators"].zero_grad()
    generators.backward()
    task.optimisers["discriminators"].zero_grad()
    ct = (((dy(y) - 1) ** 2).mean() + (dy(fake_y.detach()) ** 2).mean()) / 2
    photo = (((dx(x) - 1) ** 2).mean() + (dx(fake_x.detach()) ** 2).mean()) / 2
    (ct + photo).backward()
    return {"generators": generators, "discriminator_ct": ct, "discriminator_photo": photo}


def test_batched_step_equals_the_textbooks_separate_calls(tmp_path: Path) -> None:
    task = make_task(tmp_path, tmp_path / "work", pool=0)
    x, y = images(2, 32, 1), images(2, 32, 2)
    torch.manual_seed(9)
    expected = textbook(task, x, y)
    wanted = gradients(task.generators), gradients(task.discriminators)

    torch.manual_seed(9)
    made, losses = task.generator_losses(x, y)
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
    _, slices = task.views(task.read(0))
    assert slices[:, :, 0, 0].max() == -1, "a whole slice has air in its corner"


def test_only_train_rows_are_sources(tmp_path: Path) -> None:
    sources = make_sources(tmp_path, parameters())
    assert sources.photo_rows.tolist() == list(range(10)) and sources.ct_rows.tolist() == list(range(5))
