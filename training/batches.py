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


class BalancedSampler(IndexSampler):
    """As IndexSampler, but `share` of each pass has the mark: rows of either kind come in passes of their own.

    A pass is still of as many images as there are rows: the rarer kind is seen more often than once, in turn, the
    other less often. BadParameter when either kind is missing.
    """

    def __init__(
        self, marked: npt.NDArray[np.bool_], share: float, batch: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        super().__init__(len(marked), batch, seed, rank, ranks)
        kinds = [np.flatnonzero(marked), np.flatnonzero(~marked)]
        if not all(len(rows) for rows in kinds):
            raise BadParameter(
                "positive_share: all slices are of one kind, there is nothing to balance; set it to null"
            )
        first = min(self.count - 1, max(1, round(share * self.count)))
        self._kinds = [
            (rows, IndexSampler(len(rows), each, int(np.random.SeedSequence([seed, kind]).generate_state(1)[0])))
            for kind, (rows, each) in enumerate(zip(kinds, (first, self.count - first), strict=True))
        ]

    def _order(self, number: int) -> npt.NDArray[np.int64]:
        drawn = [rows[passes.rows(number * passes.batch)] for rows, passes in self._kinds]
        return np.concatenate(drawn)[super()._order(number)]


def seed_step(seed: int, images_seen: int, rank: int) -> None:
    """Seed torch's generators for one step: augmentation, dropout and pools then need no saved state."""
    torch.manual_seed(int(np.random.SeedSequence([seed, images_seen, rank]).generate_state(1, np.uint64)[0] >> 1))
