"""Which images a step sees: a pure function of (seed, images seen, rank), so that a resumed run sees the same.

accelerate's `save_state` keeps neither epoch nor shuffle order; an order that needs no state cannot be lost.
"""

import numpy as np
import numpy.typing as npt
import torch

from settings.errors import BadParameter


class IndexSampler:
    """Endless shuffled passes over `count` rows, shared out over ranks.

    The global batch at `images_seen` is rows images_seen … images_seen + batch - 1 of the concatenated passes;
    rank r takes every `ranks`-th of it from r on. Pass e is a permutation drawn from (seed, e).
    """

    def __init__(self, count: int, batch: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        if count < 1:
            raise BadParameter("a training has no images: the part it reads is empty; check the split's shares")
        if batch % ranks:
            raise BadParameter(f"batch: {batch} images cannot be shared by {ranks} ranks; choose a multiple")
        self.count, self.batch, self.seed, self.rank, self.ranks = count, batch, seed, rank, ranks
        self._passes: dict[int, npt.NDArray[np.int64]] = {}

    def rows(self, images_seen: int) -> npt.NDArray[np.int64]:
        """Row numbers (batch / ranks of them) for the step that starts at `images_seen`."""
        places = np.arange(images_seen + self.rank, images_seen + self.batch, self.ranks)
        passes = (places // self.count).tolist()
        wanted = range(passes[0], passes[-1] + 1)
        self._passes = {p: self._passes[p] if p in self._passes else self._order(p) for p in wanted}
        return np.array([self._passes[p][i] for p, i in zip(passes, places % self.count, strict=True)], dtype=np.int64)

    def _order(self, number: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, number]).permutation(self.count)


def step_seed(seed: int, images_seen: int, rank: int, stream: int = 0) -> int:
    """The seed (63 bits) of one step on one rank; `stream` other than 0 for a generator of its own beside torch's."""
    entropy = [seed, images_seen, rank] + ([stream] if stream else [])
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def seed_step(seed: int, images_seen: int, rank: int) -> None:
    """Seed torch's generators for one step: augmentation, dropout and noise then need no saved state."""
    torch.manual_seed(step_seed(seed, images_seen, rank))
