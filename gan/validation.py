"""Validation of the translator while it trains: figures, warnings, a sample grid, and KID to patients it never saw."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from corpus.windows import Windows, to_windows
from evaluation.kid import kid, kid_floor
from gan import figures
from gan.crops import hu_channel
from gan.losses import distance
from gan.parameters import GanTrain
from gan.samples import to_levels, write_grid
from gan.translator import Discriminators, Generators
from gan.watch import GAME, History
from training.loop import Run
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

Extract = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating[Any]]]  # n×H×W×3 in three windows → n×d features
CONFIDENCE, HALVES_SEED = 0.95, 0  # of the floor


class Scanner(NamedTuple):
    """How the one-channel form reads: the three windows, and the range in HU."""

    windows: Windows
    hu: tuple[float, float]


class Kid:
    """KID of translations of fixed photos to fixed views of val patients' slices, with its floor.

    photos: n×C×H×W, cts: m×C×H×W, both -1…1 on the device; patients: whose each view is. `floor` is the KID between
    halves of these patients, None where there is but one.
    """

    def __init__(
        self, photos: Tensor, cts: Tensor, patients: Sequence[str], batch: int, scanner: Scanner, extract: Extract
    ) -> None:
        self.photos, self.batch, self.scanner, self.extract = photos, batch, scanner, extract
        self.ct = self._features(cts)
        self.floor = kid_floor(self.ct, patients, CONFIDENCE, HALVES_SEED)

    def __call__(self, generators: Generators, decisions: Decisions) -> dict[str, float]:
        """`kid` and, where there is one, `kid_floor`."""
        with torch.no_grad(), decisions.autocast():
            starts = range(0, len(self.photos), self.batch)
            translated = torch.cat([generators.to_ct(self.photos[at : at + self.batch]) for at in starts])
        found = {"kid": kid(self._features(translated), self.ct)}
        return {**found, "kid_floor": self.floor.kid} if self.floor else found

    def _features(self, images: Tensor) -> npt.NDArray[np.floating[Any]]:
        stored = to_levels(images)
        one = stored.shape[-1] == 1
        return self.extract(to_windows(stored, self.scanner.windows, *self.scanner.hu) if one else stored)


class Validation:
    """A `gan.translator.Look` at fixed train photos and CT views (each n×C×H×W in -1…1, on the device)."""

    def __init__(
        self, photos: Tensor, cts: Tensor, parameters: GanTrain, scanner: Scanner, distance_to_ct: Kid | None,
        run: Run, accelerator: "Accelerator", decisions: Decisions,
    ) -> None:  # fmt: skip
        self.photos, self.cts, self.scanner, self.kid = photos, cts, scanner, distance_to_ct
        self.parameters, self.run, self.accelerator, self.decisions = parameters, run, accelerator, decisions
        self.history = History([])

    def __call__(
        self, generators: Generators, discriminators: Discriminators, recent: Tensor, images_seen: int
    ) -> dict[str, float]:
        """Every rank computes the same, from the same weights and images. The main process writes the grid.

        Raises TrainingFailed where `gan.watch.History.judge` does.
        """
        watch = self.parameters.watch
        with torch.no_grad(), self.decisions.autocast():
            translated, as_photos = generators.to_ct(self.photos), generators.to_photo(self.cts)
            cycled = generators.to_photo(translated)
            hidden = generators.to_photo(figures.degraded(translated, watch.hidden_noise))
            answers = discriminators(torch.cat([self.cts, self.photos]), torch.cat([self.photos, self.cts]))
        if self.accelerator.is_main_process:
            write_grid(
                self.run.work / sample_name(images_seen),
                self.photos, translated, cycled, self.cts, as_photos,
                self.scanner.windows[0], self.scanner.hu,
            )  # fmt: skip
        found = {
            **of_images(self.photos, self.cts, translated, cycled, hidden, self.scanner),
            **of_game(self.accelerator.reduce(recent.to(self.accelerator.device), "mean"), answers),
        }
        if self.kid:
            found |= self.kid(generators, self.decisions)
        alarms = self.history.judge(found, images_seen, watch, self.run.name)
        for alarm in alarms:
            self.accelerator.print(f"{self.run.name}: WARNING at {images_seen:,} images: {alarm.line}")
        return {**found, "warnings": len(alarms), "failing": self.history.failing}

    def state(self) -> dict[str, Any]:
        return vars(self.history)

    def restore(self, state: dict[str, Any]) -> None:
        self.history = History(**state)


def of_images(
    photos: Tensor, cts: Tensor, translated: Tensor, cycled: Tensor, hidden: Tensor, scanner: Scanner
) -> dict[str, float]:
    """Figures of photos (all n×C×H×W in -1…1), their translations, what comes back of these, and of the degraded ones.

    `cycle`: mean |cycled - photo|; `hidden`: the same from degraded translations, of that (1: nothing was hidden).
    `change`: mean |translated - photo| (0: identity mapping).
    `levels`: distance of the translations' levels to CT's, of the photos' own (1: they came no nearer).
    `diversity`: difference between two translations, of that between two CT views (0: mode collapse).
    `likeness`: correlation of two translations, beyond that of two photos (above 0: they share a layout).
    `correlation`: of translations with their photos; below 0 intensity is inverted, which is no fault.
    `checkerboard`: power of patterns that repeat every 2 or 4 px, of CT's.
    `saturated`, `oversaturated`: share of pixels at an end of the range, and beyond CT's share.
    `hu_mean`: of the translations, in HU.
    """
    channel, (low, high) = hu_channel(cts.shape[1], *scanner)
    cycle, saturated = distance(cycled, photos), figures.saturated(translated)
    own = figures.histogram_distance(photos, cts)
    found = {
        "cycle": cycle,
        "diversity": figures.diversity(translated) / figures.diversity(cts).clamp(min=1e-6),
        "likeness": figures.likeness(translated) - figures.likeness(photos),
        "change": distance(translated, photos),
        "levels": figures.histogram_distance(translated, cts) / own.clamp(min=2 / 255),
        "correlation": figures.correlation(translated, photos),
        "hidden": distance(hidden, photos) / cycle.clamp(min=2 / 255),
        "checkerboard": figures.checkerboard(translated, cts),
        "saturated": saturated,
        "oversaturated": saturated - figures.saturated(cts),
        "hu_mean": (translated[:, channel].mean() + 1) / 2 * (high - low) + low,
    }
    return {name: float(value) for name, value in found.items()}


def of_game(recent: Tensor, answers: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Figures of the adversarial game, for CT and photos each.

    recent: means of the losses `gan.watch.GAME`; answers: of each discriminator on its own kind of image, then on as
    many of the other, untouched.

    `domination`: generator's loss minus discriminator's: 0 in equilibrium, 1 when every translation is found out.
    `confusion`: the discriminator's loss: 0.25 in equilibrium and when it always says ½, more when it is wrong.
    `telling`: lead of its answers on its own kind: kept in equilibrium, lost when it answers everything alike.
    """
    losses = dict(zip(GAME, recent.tolist(), strict=True))
    found = {}
    for kind, answer in zip(("ct", "photo"), answers, strict=True):
        own, other = answer.chunk(2)
        found[f"domination_{kind}"] = losses[f"adversarial_{kind}"] - losses[f"discriminator_{kind}"]
        found[f"confusion_{kind}"] = losses[f"discriminator_{kind}"]
        found[f"telling_{kind}"] = float(own.mean() - other.mean())
    return found


def sample_name(images_seen: int) -> str:
    """File name of a sample grid; names sort by images seen."""
    return f"samples-{images_seen:09d}.png"
