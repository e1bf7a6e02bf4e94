"""A linear probe: which class an image is of, told linearly from a frozen CNN's pooled features."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backbones.extractor import Extractor, extract
from corpus.images import Images
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

PHOTOS = 20_000  # at most so many are fitted on, spread evenly: features lie in memory
AT_ONCE, BATCH = 2048, 64  # photos in memory, and of them in one forward pass


class Probe(nn.Module):
    """Float n×3×H×W in -1…1 → logits n×classes; differentiable in the images, frozen itself."""

    def __init__(self, extractor: Extractor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.extractor = extractor
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.weight.data.copy_(weight)
        self.linear.bias.data.copy_(bias)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.extractor(images))


def fit_probe(
    extractor: Extractor,
    photos: Images,
    rows: npt.NDArray[np.int64],
    accelerator: "Accelerator",
    decisions: Decisions,
) -> Probe:
    """Fit on these rows of a photo corpus: multinomial logistic regression on standardised features, C = 1.

    Deterministic and the same on every rank. A class without a photo among the rows gets no chance (bias -1e4).
    """
    from sklearn.linear_model import LogisticRegression

    rows = rows[:: -(-len(rows) // PHOTOS)]
    extractor.to(accelerator.device)
    features = np.concatenate(
        [
            extract(extractor, photos.shards.read(rows[start : start + AT_ONCE]), BATCH, accelerator, decisions)
            for start in range(0, len(rows), AT_ONCE)
        ]
    )
    mean, spread = features.mean(0), features.std(0) + 1e-6
    labels = np.array(photos.column("label"), dtype=np.int64)[rows]
    fitted = LogisticRegression(max_iter=500).fit((features - mean) / spread, labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # one row that speaks for the second class
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    count = len(photos.card["classes"])
    weights, biases = np.zeros((count, features.shape[1])), np.full(count, -1e4)
    weights[fitted.classes_] = weight / spread
    biases[fitted.classes_] = bias - weights[fitted.classes_] @ mean
    probe = Probe(extractor, torch.from_numpy(weights).float(), torch.from_numpy(biases).float())
    return probe.to(accelerator.device)
