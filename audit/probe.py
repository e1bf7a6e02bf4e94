"""Train on translated photos, test on held-out translated ones: is what they show still told apart?

A logistic probe on frozen features, trained and tested on the same form of the photos; tested also on images that
lost faint detail, since a translator can hide a photo in contrast that nobody sees.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from audit.degrade import degrade
from audit.kinds import Images
from audit.parameters import Probe

Features = npt.NDArray[np.float32]
CONDITIONS = {"clean": "clean", "blur": "after blur", "noise": "after noise", "jpeg": "after JPEG"}


def spoilt(images: Images, parameters: Probe, seed: int) -> dict[str, Images]:
    """Held-out images (n×H×W×3) as they are tested, by the names in `CONDITIONS`."""
    return {
        "clean": images,
        "blur": degrade(images, parameters.blur, 0, seed),
        "noise": degrade(images, 0, parameters.noise_sd, seed),
        "jpeg": jpeg(images, parameters.jpeg_quality),
    }


def jpeg(images: Images, quality: int) -> Images:
    """Images (n×H×W×3) after JPEG at Pillow's `quality`, with its default halving of colour."""
    out = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        out[i] = np.asarray(Image.open(file))
    return out


def probe(
    train: Features,
    labels: npt.NDArray[np.int64],
    tests: Mapping[str, Features],
    truth: npt.NDArray[np.int64],
    parameters: Probe,
    seed: int,
    permute: bool = False,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Hits (seeds×n) of the probe on each of `tests` (n×d): logistic regression with an L2 penalty, scikit-learn's.

    Features are brought to mean 0 and sd 1 of the train images. A seed draws weights for the train images, exponential
    and so of mean 1 (the Bayesian bootstrap: Rubin, Ann. Stat. 9:130, 1981): as if other photos had been collected,
    though none is left out. `permute`: train labels shuffled by the seed, so that only chance is left.
    """
    from sklearn.linear_model import LogisticRegression

    mean, sd = train.mean(axis=0), train.std(axis=0)
    scale = np.divide(1, sd, out=np.zeros_like(sd), where=sd > 0)
    hits: dict[str, list[Any]] = {name: [] for name in tests}
    for number in range(parameters.seeds):
        random = np.random.default_rng([seed, number])
        weights = random.exponential(size=len(labels))
        given = random.permutation(labels) if permute else labels
        fitted = LogisticRegression(C=parameters.inverse_penalty, max_iter=300)
        fitted.fit((train - mean) * scale, given, weights)
        for name, features in tests.items():
            hits[name].append(fitted.predict((features - mean) * scale) == truth)
    return {name: np.stack(found) for name, found in hits.items()}
