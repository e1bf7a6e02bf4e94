"""Kernel inception distance: how far two sets of images are apart in the features of a frozen CNN.

Bińkowski et al., "Demystifying MMD GANs", arXiv 1801.01401, section 4: unbiased MMD² with the kernel (x·y / d + 1)³.
CT views are not independent: those of one patient are alike. So the distance of CT from CT is taken between halves of
the patients (halves of the views are a factor of 50 too near), and the interval draws patients, not views.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from settings.errors import BadInput

Features = npt.NDArray[Any]  # n×d, floating
Floats = npt.NDArray[np.float64]
FEW_PATIENTS = 20  # below it an interval over patients describes these patients and no others
HALVINGS = 200
BOOTSTRAPS = 2000


def kid(first: Features, second: Features) -> float:
    """Unbiased MMD² of n×d and m×d features; about 0, and as likely below, where both are of one distribution.

    The same n on both sides: of the longer set rows spread evenly over it. BadInput for fewer than two rows.
    """
    from torch_fidelity.metric_kid import kernel_mmd

    first, second = same_count(first, second)
    return float(kernel_mmd(first, second))


class Distance(NamedTuple):
    """A KID with its interval."""

    kid: float
    low: float
    high: float
    n: int  # images on each side
    patients: int


def kid_interval(images: Features, ct: Features, patients: Sequence[str], confidence: float, seed: int) -> Distance:
    """KID of images (n×d, independent of each other) and CT views (m×d; `patients`: whose each is), with its interval.

    Percentiles of a bootstrap that draws patients with all their views, and images. A patient drawn twice would make
    CT more like itself; so pairs of one patient's views keep their share of all pairs, each draw of a patient adding
    its own. With one patient there is none to draw: the interval is over images alone.
    """
    images, ct, owners = *same_count(images, ct), np.asarray(patients)
    owners = owners[_spread(len(owners), len(ct))]
    names, whose = np.unique(owners, return_inverse=True)
    random = np.random.default_rng(seed)
    ours = random.multinomial(len(images), np.full(len(images), 1 / len(images)), BOOTSTRAPS).astype(np.float64)
    theirs = random.multinomial(len(names), np.full(len(names), 1 / len(names)), BOOTSTRAPS).astype(np.float64)
    drawn = _weighted(images, np.arange(len(images)), ct, whose, ours, theirs)
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Distance(kid(images, ct), float(low), float(high), len(images), len(names))


def kid_floor(ct: Features, patients: Sequence[str], confidence: float, seed: int) -> Distance | None:
    """KID of CT from CT: between the views of a random half of the patients and those of the others.

    The mean over 200 such halvings and their percentiles; None for a single patient. Each half has half the patients,
    and so more pairs of one patient than all of them together: the floor is rather too high than too low.
    """
    owners = np.asarray(patients)
    names = np.unique(owners)
    if len(names) < 2:
        return None
    random = np.random.default_rng(seed)
    found, sizes = [], []
    for _ in range(HALVINGS):
        half = np.isin(owners, random.permutation(names)[: len(names) // 2])
        if min(half.sum(), (~half).sum()) < 2:
            continue  # too small for an unbiased estimate
        found.append(kid(ct[half], ct[~half]))
        sizes.append(min(half.sum(), (~half).sum()))
    if not found:
        return None
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Distance(float(np.mean(found)), float(low), float(high), int(np.median(sizes)), len(names))


def same_count(first: Features, second: Features) -> tuple[Floats, Floats]:
    """Both as float64 with as many rows as the shorter has; BadInput for fewer than two, or other widths."""
    count = min(len(first), len(second))
    if count < 2 or first.shape[1:] != second.shape[1:]:
        raise BadInput(f"KID: needs two images or more on each side, features alike ({first.shape}, {second.shape})")
    rows = [features[_spread(len(features), count)].astype(np.float64) for features in (first, second)]
    return rows[0], rows[1]


def _spread(length: int, count: int) -> npt.NDArray[np.int64]:
    """`count` of `length` rows, evenly over them."""
    return np.arange(count) * length // count


def _weighted(
    first: Floats, first_owner: npt.NDArray[Any], second: Floats, second_owner: npt.NDArray[Any],
    first_weights: Floats, second_weights: Floats,
) -> Floats:  # fmt: skip
    """MMD² for b sets of weights of the owners of rows (b×owners each); nan where a set leaves no pair."""
    from torch_fidelity.metric_kid import kernel_poly

    one, two = (np.eye(owner.max() + 1)[owner] for owner in (first_owner, second_owner))  # n×owners, one-hot
    between = one.T @ kernel_poly(first, second) @ two
    weights = np.outer(one.sum(0), two.sum(0))
    across = np.einsum("bi,ij,bj->b", first_weights, between, second_weights, optimize=True)
    pairs = np.einsum("bi,ij,bj->b", first_weights, weights, second_weights, optimize=True)
    return _alike(first, one, first_weights) + _alike(second, two, second_weights) - 2 * across / pairs


def _alike(rows: Floats, members: Floats, weights: Floats) -> Floats:
    """Mean kernel of pairs of unlike rows, for b sets of weights of their owners.

    Pairs of one owner and of two are averaged apart and joined by their shares among all pairs.
    """
    from torch_fidelity.metric_kid import kernel_poly

    kernel = kernel_poly(rows, rows)
    np.fill_diagonal(kernel, 0)
    sums = members.T @ kernel @ members
    counts = members.T @ (1 - np.eye(len(rows))) @ members
    share = np.trace(counts) / counts.sum()
    mean = np.zeros(len(weights))
    if share > 0:
        with np.errstate(invalid="ignore"):
            mean += share * (weights @ np.diag(sums)) / (weights @ np.diag(counts))
    if share < 1:
        apart, number = (matrix - np.diag(np.diag(matrix)) for matrix in (sums, counts))
        with np.errstate(invalid="ignore"):
            mean += (
                (1 - share)
                * np.einsum("bi,ij,bj->b", weights, apart, weights, optimize=True)
                / np.einsum("bi,ij,bj->b", weights, number, weights, optimize=True)
            )
    return mean
