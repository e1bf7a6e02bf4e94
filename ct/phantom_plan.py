"""Who of the phantom's patients has which bleeds, and at which heights they are sought."""

from itertools import pairwise

import numpy as np

from ct.labels import LABELS
from ct.phantom_bleeds import IVH_REACH
from ct.phantom_parameters import PhantomCt

SUBTYPES = LABELS[:-1]
WIDER = 4.0  # mm that parts of the height reach into each other: else thin ones would miss what a bleed can lie in
BLOCK = 20  # patients among whom shares are kept as nearly as they can be
# How bleeds go together: correlations, among positive patients, of what draws them. Fitted so that at subtype shares of
# 0.2 in 60 % positive patients P(other label on the slice) comes near the competition's (benchmarks/phantom_runs.py).
TOGETHER = {
    ("intraparenchymal", "intraventricular"): 0.85,
    ("intraventricular", "subarachnoid"): 0.35,
    ("intraparenchymal", "subarachnoid"): 0.05,
    ("subarachnoid", "subdural"): -0.1,
    ("epidural", "subdural"): -0.1,
    ("epidural", "intraparenchymal"): -0.25,
    ("epidural", "subarachnoid"): -0.4,
    ("epidural", "intraventricular"): -0.55,
    ("intraparenchymal", "subdural"): -0.25,
    ("intraventricular", "subdural"): -0.35,
}


def planned(parameters: PhantomCt, patient: int) -> list[str]:
    """The subtypes that a patient is to have.

    Patients are dealt in blocks of 20; over blocks the shares are met exactly. Within a block the positive patients
    with the highest of five correlated normal numbers have the subtype; each positive patient has at least one.
    """
    block, place = divmod(patient, BLOCK)
    rng = np.random.default_rng([parameters.seed, block, 1])

    def quota(share: float) -> int:
        return int(share * BLOCK * (block + 1) + 0.5) - int(share * BLOCK * block + 0.5)

    positive = rng.permutation(BLOCK)[: quota(parameters.any_share)]
    covariance = np.eye(len(SUBTYPES))
    for pair, value in TOGETHER.items():
        i, j = (SUBTYPES.index(name) for name in pair)
        covariance[i, j] = covariance[j, i] = value
    scores = rng.standard_normal((len(positive), len(SUBTYPES))) @ np.linalg.cholesky(covariance).T
    has = np.zeros(scores.shape, dtype=np.bool_)
    for column, share in enumerate(parameters.subtype_shares.model_dump().values()):
        has[np.argsort(-scores[:, column])[: quota(share)], column] = True
    for row in np.flatnonzero(~has.any(axis=1)):  # somebody who has several gives one up
        several = np.flatnonzero(has.sum(axis=1) > 1)
        columns = np.arange(len(SUBTYPES))
        if len(several):
            giver = int(rng.choice(several))
            columns = np.flatnonzero(has[giver])
        column = int(columns[np.argmax(scores[row, columns])])
        if len(several):
            has[giver, column] = False
        has[row, column] = True
    where = np.flatnonzero(positive == place)
    return [name for name, yes in zip(SUBTYPES, has[where[0]], strict=True) if yes] if len(where) else []


def spread(rng: np.random.Generator, labels: list[str], heights: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """For each label the range of heights (mm) for its bleed's middle: parts of `heights`, dealt at random.

    Several bleeds of a patient so lie on different slices where they are small enough. Blood in ventricles gets a part
    that reaches them.
    """
    low, high = heights
    edges = np.linspace(low, high, len(labels) + 1)
    parts = [(max(low, float(a) - WIDER), min(high, float(b) + WIDER)) for a, b in pairwise(edges)]
    order = rng.permutation(len(labels)).tolist()
    if "intraventricular" in labels and parts[order[labels.index("intraventricular")]][0] > IVH_REACH[1] - 8:
        at, lowest = labels.index("intraventricular"), order.index(0)
        order[at], order[lowest] = order[lowest], order[at]
    return {label: parts[part] for label, part in zip(labels, order, strict=True)}
