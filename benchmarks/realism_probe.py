"""Told to separate phantom from real slices, what does a small CNN look at, and what can single figures do?

Two folds by patient: each patient's slices are scored by a probe that never saw the patient. The CNN's answer for a
slice is the mean of its answers at every place, each from the 43 × 43 pixels about it; so the map of these
answers is exactly what it decided on, and needs no approximation such as Grad-CAM.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.realism_figures import auc

Array = npt.NDArray[np.floating[Any]]
FOLDS = 2
EPOCHS = 60
BATCH = 16


class Probed(NamedTuple):
    """What the CNN says about each slice: answers (n; above 0: phantom), maps of them (n × h × w), AUC."""

    answers: Array
    maps: Array
    auc: float


def folds(patients: Sequence[str], seed: int) -> npt.NDArray[np.int64]:
    """The fold of each slice, 0 … FOLDS-1: all of a patient in one, and about as many patients in each."""
    names = np.array(sorted(set(patients)))
    number = np.random.default_rng(seed).permutation(len(names)) % FOLDS
    fold = dict(zip(names.tolist(), number.tolist(), strict=True))
    return np.array([fold[name] for name in patients])


def network() -> nn.Sequential:
    """Six convolutions, three of them strided, and an answer at every place (of 128 × 128 pixels: 16 × 16 answers)."""

    def block(before: int, after: int) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]

    return nn.Sequential(*block(1, 8), *block(8, 16), *block(16, 32), nn.Conv2d(32, 1, 1))


def fit(pictures: torch.Tensor, drawn: torch.Tensor, seed: int) -> nn.Sequential:
    """A CNN trained on pictures (n × 1 × h × w, 0 … 1) to say which are drawn; both kinds weigh the same.

    Mirrored, moved by up to 4 pixels and brightened or darkened by up to 4 HU, so that it can remember neither single
    slices nor a scanner's calibration.
    """
    torch.manual_seed(seed)
    model = network()
    steps = EPOCHS * -(-len(pictures) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    weight = torch.where(drawn > 0.5, 0.5 / drawn.mean(), 0.5 / (1 - drawn.mean()))
    model.train()
    for _ in range(EPOCHS):
        for at in torch.split(torch.randperm(len(pictures)), BATCH):
            batch = pictures[at] + 0.1 * (torch.rand(len(at), 1, 1, 1) - 0.5)
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            down, right = torch.randint(-4, 5, (2,)).tolist()
            answer = model(batch.roll((down, right), (2, 3))).mean(dim=(1, 2, 3))
            loss = nn.functional.binary_cross_entropy_with_logits(answer, drawn[at], weight=weight[at])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return model.eval()


def probe(pictures: npt.NDArray[np.uint8], drawn: npt.NDArray[np.bool_], patients: Sequence[str], seed: int) -> Probed:
    """Each slice (n × h × w) judged by a CNN that was trained on other patients; `drawn` says which are phantoms."""
    values = torch.from_numpy(pictures.astype(np.float32) / 255)[:, None]
    truth, fold = torch.from_numpy(drawn.astype(np.float32)), folds(patients, seed)
    maps = np.zeros(0, dtype=np.float32)
    for number in range(FOLDS):
        own = fold == number
        model = fit(values[torch.from_numpy(~own)], truth[torch.from_numpy(~own)], seed)
        with torch.inference_mode():
            found = torch.cat([model(part)[:, 0] for part in torch.split(values[torch.from_numpy(own)], 64)]).numpy()
        if not maps.size:
            maps = np.zeros((len(pictures), *found.shape[1:]), dtype=np.float32)
        maps[own] = found
    answers = maps.mean(axis=(1, 2))
    return Probed(answers, maps, _mean_auc(answers, drawn, fold))


def overlay(picture: npt.NDArray[np.uint8], places: Array, scale: float) -> npt.NDArray[np.uint8]:
    """A slice (h × w) with the CNN's answers over it (h × w × 3): blue for phantom, red for real, `scale` is full."""
    large = nn.functional.interpolate(
        torch.from_numpy(places.astype(np.float32))[None, None], picture.shape, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    share = (large / scale).clip(-1, 1)
    colour = colormaps["coolwarm_r"](0.5 + 0.5 * share)[..., :3]
    strength = (0.7 * np.abs(share) ** 0.7)[..., None]
    return np.asarray((1 - strength) * picture[..., None] + strength * 255 * colour, np.uint8)


def linear(figures: Array, drawn: npt.NDArray[np.bool_], patients: Sequence[str], seed: int) -> float:
    """AUC of a logistic regression on figures (n × k; NaN: the column's median) for slices of unseen patients."""
    known = np.where(np.isfinite(figures), figures, np.nanmedian(figures, axis=0))
    fold, answers = folds(patients, seed), np.zeros(len(drawn))
    for number in range(FOLDS):
        own = fold == number
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000))
        answers[own] = model.fit(known[~own], drawn[~own]).decision_function(known[own])
    return _mean_auc(answers, drawn, fold)


def _mean_auc(answers: Array, drawn: npt.NDArray[np.bool_], fold: npt.NDArray[np.int64]) -> float:
    """Mean of the folds' AUCs: answers of different models are not on one scale."""
    return float(np.mean([auc(answers[drawn & (fold == n)], answers[~drawn & (fold == n)]) for n in range(FOLDS)]))
