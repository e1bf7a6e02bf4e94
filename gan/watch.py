"""Detectors: which figures of a translator are alarming, what to turn then, and which end the training.

Only a non-finite loss (`training/loop.py`) and a CT discriminator that has won for good are fatal: from neither can the
generators learn more. All else may still pass, or be what was asked for; it is said, and the figures stay on record.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan.parameters import Watch
from settings.errors import TrainingFailed

GAME = ("discriminator_ct", "discriminator_photo", "adversarial_ct", "adversarial_photo")
FATAL = "domination_ct"  # of CT's alone: the way back makes no corpus


class Detector(NamedTuple):
    """Fires when `figure` is beyond the threshold of the parameter `gan_train.watch.<threshold>`."""

    name: str
    figure: str
    threshold: str
    above: bool  # whether more than the threshold is alarming, or less
    words: str  # what the figure is
    advice: str  # the knob

    def fires(self, value: float, threshold: float) -> bool:
        return value > threshold if self.above else value < threshold


def _both(name: str, figure: str, above: bool, words: str, advice: str) -> list[Detector]:
    """The same for the discriminators of CT and of photos."""
    sides = (("ct", "CT's discriminator"), ("photo", "the photos' discriminator"))
    return [Detector(name, f"{figure}_{k}", figure, above, f"{words} of {whose}", advice) for k, whose in sides]


DETECTORS = (
    Detector(
        "identity mapping", "change", "change", False, "mean change of a photo",
        "lower gan_train.identity or raise gan_train.adversarial",
    ),
    Detector(
        "levels stay a photo's", "levels", "levels", True, "distance to CT's levels, of the untouched photos'",
        "train for longer (gan_train.images), lower gan_train.identity or raise gan_train.adversarial",
    ),
    Detector(
        "mode collapse", "diversity", "diversity", False, "difference between two translations, of CT's",
        "lower gan_train.learning_rate or raise gan_train.cycle",
    ),
    Detector(
        "mode collapse to one layout", "likeness", "likeness", True, "correlation of two translations, beyond photos'",
        "take gan_train.ct_view: crops, or a smaller gan_train.field",
    ),
    *_both(
        "discriminator domination", "domination", True, "generator's loss minus loss",
        "lower gan_train.ndf or gan_train.learning_rate",
    ),
    *_both(
        "discriminator collapse", "confusion", True, "loss (always ½ has 0.25)", "lower gan_train.learning_rate"
    ),
    *_both(
        "discriminator collapse", "telling", False, "lead of real images over untouched ones of the other kind",
        "raise gan_train.ndf or lower gan_train.learning_rate",
    ),
    Detector(
        "checkerboard", "checkerboard", "checkerboard", True, "power at periods of 2 and 4 px, of CT's",
        "train for longer (gan_train.images) or raise gan_train.ngf; upsample by nearest neighbour",
    ),
    Detector(
        "steganography", "hidden", "hidden", True, "cycle error after faint noise, of that without",
        "raise gan_train.noise_sd and set gan_train.round_fakes",
    ),
    Detector(
        "saturation", "oversaturated", "oversaturated", True, "share at the range's ends, beyond CT's",
        "raise gan_train.identity or gan_train.cycle",
    ),
)  # fmt: skip


class Alarm(NamedTuple):
    """A detector that fired."""

    detector: str
    figure: str
    value: float
    threshold: float
    advice: str
    line: str  # for people: figure, value, threshold and knob


def alarms(figures: Mapping[str, float], watch: Watch) -> list[Alarm]:
    """What is alarming in the figures of a validation. A figure that is not finite always is."""
    found = []
    for detector in DETECTORS:
        value, threshold = figures[detector.figure], float(getattr(watch, detector.threshold))
        if detector.fires(value, threshold) or not math.isfinite(value):
            most = "at most" if detector.above else "at least"
            line = (
                f"{detector.name}: {detector.figure} is {value:.3g} ({detector.words}; {most} "
                f"gan_train.watch.{detector.threshold} {threshold:g}): {detector.advice}"
            )
            found.append(Alarm(detector.name, detector.figure, value, threshold, detector.advice, line))
    return found


@dataclass
class History:
    """What was said so far. Part of the training's state: plain dictionaries, lists and numbers."""

    warnings: list[dict[str, Any]]  # images, then an Alarm's fields without its line
    failing: int = 0  # validations in a row at which the fatal detector fired

    def judge(self, figures: Mapping[str, float], images_seen: int, watch: Watch, name: str) -> list[Alarm]:
        """Add what is alarming, from `watch.after` images on. TrainingFailed once the fatal detector has fired in
        `watch.fatal_after` validations in a row."""
        if images_seen < watch.after:
            return []
        found = alarms(figures, watch)
        for alarm in found:
            row = {field: value for field, value in alarm._asdict().items() if field != "line"}
            self.warnings.append({"images": images_seen, **row})
        fatal = next((alarm for alarm in found if alarm.figure == FATAL), None)
        self.failing = self.failing + 1 if fatal else 0
        if fatal and watch.fatal_after and self.failing >= watch.fatal_after:
            raise TrainingFailed(
                f"{name}: {self.failing} validations in a row, the last at {images_seen:,} images: {fatal.line}; "
                "the last state before them is kept"
            )
        return found

    def write(self, path: Path) -> None:
        """`warnings.csv`: a row a warning; the head alone where there was none."""
        with path.open("w", newline="", encoding="utf-8") as file:
            fields = ["images", *(field for field in Alarm._fields if field != "line")]
            writer = csv.DictWriter(file, fields, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "value": f"{row['value']:.6g}"} for row in self.warnings)


class Recent:
    """Means of the adversarial losses over the images last seen, weighed down exponentially; on the losses' device."""

    def __init__(self, decay: float) -> None:
        self.decay = decay  # of a step
        self.sums: Tensor | None = None  # of GAME, and last of the weights

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take in a step's losses; without waiting for the device."""
        values = [losses[name].detach().float() for name in GAME]
        now = torch.stack([*values, torch.ones_like(values[0])])
        self.sums = now if self.sums is None else now + self.decay * self.sums

    def means(self) -> Tensor:
        """Of each of GAME; nan before the first step."""
        return torch.full((len(GAME),), math.nan) if self.sums is None else self.sums[:-1] / self.sums[-1]

    def state(self) -> dict[str, Any]:
        """For the training state."""
        return {} if self.sums is None else {"sums": self.sums}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what `state` gave; an empty one (a rank that is new) empties it."""
        self.sums = state["sums"].to(device) if state else None
