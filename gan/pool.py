"""A pool of earlier translations for the discriminators. Shrivastava et al. (arXiv 1612.07828), section 2.3."""

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to `size` images on their device; size 0 passes images through.

    Choices are those of a generator of its own, seeded for every exchange: what else is drawn in a step does not change
    what the pool shows, and there is no generator's state to save.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.images: Tensor | None = None
        self.generator = torch.Generator(device)

    def exchange(self, images: Tensor, seed: int) -> Tensor:
        """What the discriminator sees in place of `images` (n×C×H×W, detached; n ≤ size).

        While the pool fills, the images themselves, which are kept. Then each, with probability ½, stays away and
        goes into the pool in place of an earlier one, which comes out; no two replace the same.
        """
        if not self.size:
            return images
        have = 0 if self.images is None else len(self.images)
        room = self.size - have
        filling, rest = images[:room], images[room:]
        if len(filling):
            self.images = filling.clone() if self.images is None else torch.cat([self.images, filling])
        if not len(rest):
            return filling
        assert self.images is not None
        # Those that have just come in are left where they are: they would be seen twice.
        self.generator.manual_seed(seed)
        chosen = torch.randperm(have, device=images.device, generator=self.generator)[: len(rest)]
        swap = torch.rand(len(rest), 1, 1, 1, device=images.device, generator=self.generator) < 0.5
        earlier = self.images[chosen]
        self.images[chosen] = torch.where(swap, rest, earlier)
        return torch.cat([filling, torch.where(swap, earlier, rest)])

    def state(self) -> dict[str, Any]:
        """For the training state."""
        return {} if self.images is None else {"images": self.images}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; an empty one (a rank that is new) empties the pool."""
        self.images = state["images"].to(self.generator.device)[: self.size] if state and self.size else None
