"""A training small enough to follow by hand: a linear map fitted to random rows, with dropout."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.batches import IndexSampler
from training.loop import Run

DATA = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))


class Tiny:
    def __init__(self, rank: int = 0, ranks: int = 1, prepare: Any = lambda module: module) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1))
        self.prepared = prepare(self.net)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=0.1)
        self.sampler = IndexSampler(len(DATA), 4, 7, rank, ranks)
        self.steps = 0
        self.die_after = 10**9
        self.seen: list[int] = []

    def read(self, images_seen: int) -> torch.Tensor:
        return DATA[self.sampler.rows(images_seen)]

    def step(self, batch: torch.Tensor, images_seen: int) -> dict[str, torch.Tensor]:
        if self.steps >= self.die_after:
            raise KeyboardInterrupt
        self.steps += 1
        self.seen += batch[:, 0].tolist()
        loss = (self.prepared(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def evaluate(self, images_seen: int) -> dict[str, float]:
        return {"weight": float(sum(p.detach().sum() for p in self.net.parameters()))}

    def modules(self) -> list[nn.Module]:
        return [self.net]

    def state(self) -> dict[str, Any]:
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def own_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.net.load_state_dict(shared["net"])
        self.optimiser.load_state_dict(shared["optimiser"])
        self.steps = own.get("steps", 0)


def run(work: Path, total: int = 60, every: float = 0) -> Run:
    return Run("tiny", work, total, batch=4, seed=5, evaluate_every=16, save_every_seconds=every)
