"""The translator as a training task: two generators, two discriminators, one step. CycleGAN (arXiv 1703.10593).

The step computes what the textbook's separate calls compute (a test holds this) in fewer calls: identity and
translation of one generator are one batch, and so are real and translated images of one discriminator.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from gan.losses import adversarial, consistency, discrimination, distance, return_trip
from gan.networks import Discriminator, Generator
from gan.parameters import GanTrain
from gan.pool import ImagePool
from gan.watch import Recent
from training.batches import step_seed
from training.precision import Decisions
from training.schedule import constant_then_linear

if TYPE_CHECKING:
    from accelerate import Accelerator


class Made(NamedTuple):
    """What the generators make of photos and CT views; all n×C×side×side. The identities are None if not asked for."""

    ct: Tensor  # of the photos
    photo: Tensor  # of the CT views
    cycled_photo: Tensor
    cycled_ct: Tensor
    same_ct: Tensor | None  # photo → CT of what is CT already
    same_photo: Tensor | None


class Generators(nn.Module):
    """Both directions. One module with one forward pass, so that several ranks wrap it once."""

    def __init__(self, parameters: GanTrain) -> None:
        super().__init__()
        shape = (parameters.ngf, parameters.blocks, parameters.channels, parameters.upsampling)
        self.to_ct = Generator(*shape)
        self.to_photo = Generator(*shape)
        self.noise_sd, self.round_fakes = parameters.noise_sd, parameters.round_fakes
        self.identity = parameters.identity > 0

    def forward(self, photos: Tensor, cts: Tensor) -> Made:
        ct, same_ct = self._once(self.to_ct, photos, cts)
        photo, same_photo = self._once(self.to_photo, cts, photos)
        cycled_photo = self.to_photo(return_trip(ct, self.noise_sd, self.round_fakes))
        cycled_ct = self.to_ct(return_trip(photo, self.noise_sd, self.round_fakes))
        return Made(ct, photo, cycled_photo, cycled_ct, same_ct, same_photo)

    def _once(self, generator: Generator, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Translation and identity in one call: instance norm treats each image alone, so nothing else changes."""
        if not self.identity:
            return generator(images), None
        translated, same = generator(torch.cat([images, targets])).chunk(2)
        return translated, same


class Discriminators(nn.Module):
    """One for each kind of image."""

    def __init__(self, parameters: GanTrain) -> None:
        super().__init__()
        shape = (parameters.ndf, parameters.field, parameters.channels)
        self.ct = Discriminator(*shape)
        self.photo = Discriminator(*shape)

    def forward(self, cts: Tensor, photos: Tensor) -> tuple[Tensor, Tensor]:
        return self.ct(cts), self.photo(photos)


class Look(Protocol):
    """Validation of the averaged generators, with the discriminators and the adversarial losses of late (`Recent`)."""

    def __call__(
        self, generators: Generators, discriminators: Discriminators, recent: Tensor, images_seen: int
    ) -> dict[str, float]:
        """Figures by name, the same on every rank."""

    def state(self) -> dict[str, Any]:
        """What it remembers of earlier validations."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""


class Translator:
    """A `training.loop.Task`: networks, optimisers, pools; `read` and `views` bring the images, `look` validates.

    `read(images_seen)` gives this rank's batch from disk, `views(batch)` its (photos, CT views, the photos' class
    numbers) on the device, images n×C×side×side in -1…1; `look` validates. `judge(translations)`: a photo classifier's
    logits, differentiable; needed for `consistency`.
    """

    def __init__(
        self,
        parameters: GanTrain,
        seed: int,
        accelerator: "Accelerator",
        decisions: Decisions,
        read: Callable[[int], Any],
        views: Callable[[Any], tuple[Tensor, Tensor, Tensor]],
        look: Look,
        judge: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        assert judge is not None or not parameters.consistency, "consistency needs a classifier"
        self.parameters, self.decisions, self.device = parameters, decisions, accelerator.device
        self.seed, self.rank = seed, accelerator.process_index
        self.read, self.views, self.look, self.judge = read, views, look, judge
        torch.manual_seed(seed)  # every rank starts from the same weights
        # channels_last is for CUDA alone: the instance-normed generator loses by it on a CPU
        form = decisions.memory_format if decisions.torch_device == "cuda" else torch.contiguous_format
        self.generators = Generators(parameters).to(self.device, memory_format=form)  # type: ignore[call-overload]
        self.discriminators = Discriminators(parameters).to(self.device, memory_format=form)  # type: ignore[call-overload]
        self.averaged = ModelEmaV3(
            self.generators, decay=0.5 ** (parameters.batch / parameters.ema_half_life), use_warmup=True, foreach=True
        )
        self.averaged.requires_grad_(False)
        if decisions.compiled:  # in place, after the copy: names of weights stay, and averages are only looked at
            for network in (*self.generators.children(), *self.discriminators.children()):
                network.compile(**decisions.compile_options())
        self.wrapped_generators = accelerator.prepare(self.generators)
        self.wrapped_discriminators = accelerator.prepare(self.discriminators)
        self.optimisers = {
            name: torch.optim.Adam(
                module.parameters(), parameters.learning_rate, betas=(parameters.beta1, 0.999), fused=True
            )
            for name, module in (("generators", self.generators), ("discriminators", self.discriminators))
        }
        self.pools = {name: ImagePool(parameters.pool, self.device) for name in ("ct", "photo")}
        self.recent = Recent(0.5 ** (parameters.batch / parameters.watch.half_life))

    def step(self, batch: Any, images_seen: int) -> dict[str, Tensor]:
        p = self.parameters
        if self.decisions.compiled and self.decisions.torch_device == "cuda":
            # What the step before gave may be overwritten.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        total = -(-p.images // p.batch) * p.batch
        rate = p.learning_rate * constant_then_linear(images_seen, total, p.constant_share)
        photos, cts, labels = self.views(batch)
        generators, discriminators = self.optimisers["generators"], self.optimisers["discriminators"]

        made, losses = self.generator_losses(photos, cts, labels)
        self._descend(generators, losses["generators"], rate)

        seen = [
            pool.exchange(fakes.detach(), step_seed(self.seed, images_seen, self.rank, stream))
            for stream, (pool, fakes) in enumerate(zip(self.pools.values(), (made.ct, made.photo), strict=True), 1)
        ]
        losses |= self.discriminator_losses(photos, cts, *seen)
        self._descend(discriminators, losses["discriminator_ct"] + losses["discriminator_photo"], rate)

        self.averaged.update(self.generators, step=images_seen // p.batch + 1)
        self.recent.add(losses)
        return {name: loss.detach() for name, loss in losses.items()}

    def generator_losses(self, photos: Tensor, cts: Tensor, labels: Tensor) -> tuple[Made, dict[str, Tensor]]:
        """What the generators make, and their losses by name; `generators` is the weighted sum (eq. 3 + identity).

        The discriminators are called unwrapped and without gradients of their own.
        """
        p = self.parameters
        with self.decisions.autocast():
            made: Made = self.wrapped_generators(photos, cts)
            self.discriminators.requires_grad_(False)
            answer_ct, answer_photo = self.discriminators(made.ct, made.photo)
            self.discriminators.requires_grad_(True)
            logits = self.judge(made.ct) if p.consistency and self.judge else None
        losses = {
            "adversarial_ct": adversarial(answer_ct),
            "adversarial_photo": adversarial(answer_photo),
            "cycle_photo": distance(made.cycled_photo, photos),
            "cycle_ct": distance(made.cycled_ct, cts),
        }
        parts = p.adversarial * (losses["adversarial_ct"] + losses["adversarial_photo"])
        parts = parts + p.cycle * (losses["cycle_photo"] + losses["cycle_ct"])
        if made.same_ct is not None and made.same_photo is not None:
            losses |= {"identity_ct": distance(made.same_ct, cts), "identity_photo": distance(made.same_photo, photos)}
            parts = parts + p.identity * (losses["identity_ct"] + losses["identity_photo"])
        if logits is not None:
            losses["consistency"] = consistency(logits, labels)
            parts = parts + p.consistency * losses["consistency"]
        return made, {"generators": parts, **losses}

    def discriminator_losses(
        self, photos: Tensor, cts: Tensor, fake_cts: Tensor, fake_photos: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the discriminators on real and translated images (detached), in one pass."""
        with self.decisions.autocast():
            answers = self.wrapped_discriminators(torch.cat([cts, fake_cts]), torch.cat([photos, fake_photos]))
        return {
            f"discriminator_{name}": discrimination(*answer.chunk(2))
            for name, answer in zip(("ct", "photo"), answers, strict=True)
        }

    def evaluate(self, images_seen: int) -> dict[str, float]:
        return self.look(self.averaged.module, self.discriminators, self.recent.means(), images_seen)

    def modules(self) -> list[nn.Module]:
        return [self.generators, self.discriminators, self.averaged.module]

    def state(self) -> dict[str, Any]:
        return {
            "generators": self.generators.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "averaged": self.averaged.module.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "look": self.look.state(),
        }

    def own_state(self) -> dict[str, Any]:
        return {**{name: pool.state() for name, pool in self.pools.items()}, "recent": self.recent.state()}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.generators.load_state_dict(shared["generators"])
        self.discriminators.load_state_dict(shared["discriminators"])
        self.averaged.module.load_state_dict(shared["averaged"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(shared["optimisers"][name])
        for name, pool in self.pools.items():
            pool.restore(own.get(name, {}))
        self.recent.restore(own.get("recent", {}), self.device)
        self.look.restore(shared["look"])

    def _descend(self, optimiser: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
