from pathlib import Path
from typing import Any

import pytest
import torch

from tests.backbones import made
from tests.training.ranks import run_two_ranks
from tests.vit.heads import CONTEXT, VIT, task
from training.loop import train
from training.schedule import warmup_cosine
from vit.encoder import Encoder
from vit.parameters import Context

RANKS = """
import sys
from pathlib import Path
import torch
from tests.backbones import made
from tests.vit.heads import task
from training.loop import train
machine = made.machine()
root = Path(sys.argv[1])
trained, run = task(root, root / "work", machine)
rows, choose = [], trained.sampler.rows
def chosen(images_seen):
    rows.extend(choose(images_seen).tolist())
    return choose(images_seen)
trained.sampler.rows = chosen
curves = train(trained, run, *machine)
rank = machine[0].process_index
torch.save({"model": trained.model.state_dict(), "rows": rows, "val": curves.validation}, root / f"end-{rank}.pt")
machine[0].end_training()
"""


@pytest.mark.parametrize("context", [None, CONTEXT], ids=["slices", "series"])
def test_killed_in_mid_epoch_and_resumed_equals_uninterrupted(context: Context | None, tmp_path: Path) -> None:
    """Dropout and stochastic depth are on: their draws must be the same as well."""
    machine = made.machine()
    whole, run = task(tmp_path / "data", tmp_path / "a", machine, context=context)
    curves = train(whole, run, *machine)
    broken, run = task(tmp_path / "data", tmp_path / "b", machine, 0, context)
    step = broken.step

    def dies(batch: Any, images_seen: int) -> Any:
        if images_seen == 16:  # the half has 12 slices: in its second pass
            raise KeyboardInterrupt
        return step(batch, images_seen)

    broken.step = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(broken, run, *machine)
    resumed, run = task(tmp_path / "data", tmp_path / "b", machine, context=context)
    assert train(resumed, run, *machine) == curves
    one, other = whole.state(), resumed.state()
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["best"]["weights"] and one["best"]["images"] == other["best"]["images"]
    assert all(torch.equal(value, other["best"]["weights"][name]) for name, value in one["best"]["weights"].items())


def test_embeddings_norms_and_biases_are_not_decayed(tmp_path: Path) -> None:
    trained, _ = task(tmp_path / "data", tmp_path / "work", made.machine())
    names = {id(p): name for name, p in trained.model.named_parameters()}
    groups = {group["weight_decay"]: group["params"] for group in trained.optimiser.param_groups}
    assert set(groups) == {0.05, 0}
    assert {names[id(p)] for p in groups[0] if p.ndim > 1} == {"encoder.position", "encoder.token"}
    assert all(p.ndim > 1 for p in groups[0.05]) and len(names) == len(groups[0.05]) + len(groups[0])


def test_dropout_and_stochastic_depth_hold_in_training_alone() -> None:
    torch.manual_seed(0)
    vit = VIT.model_copy(update={"depth": 3, "dropout": 0.0, "drop_path": 0.5})
    encoder, x = Encoder(4, vit), torch.randn(64, 4, 12)
    assert [block.drop_path1.drop_prob if i else 0 for i, block in enumerate(encoder.blocks)] == [0, 0.25, 0.5]  # type: ignore[union-attr]
    draws = encoder.train()(x), encoder(x)
    assert not torch.equal(*draws)
    assert torch.equal(encoder.eval()(x), encoder(x))
    last = torch.cat([encoder.blocks[2].train()(x) == x]).flatten(1).all(1).float().mean()
    assert 0.1 < last < 0.45  # both of a block's halves fall out: a quarter of the slices pass it unchanged
    dropping = Encoder(4, VIT.model_copy(update={"dropout": 0.5, "drop_path": 0.0}))
    assert not torch.equal(dropping.train()(x), dropping(x)) and torch.equal(dropping.eval()(x), dropping(x))


def test_the_rate_follows_the_schedule_of_images_seen(tmp_path: Path) -> None:
    trained, run = task(tmp_path / "data", tmp_path / "work", made.machine())
    for seen in (0, 12, 20):
        trained.step(trained.read(seen), seen)
        expected = trained.peak * warmup_cosine(seen, run.total, 2)  # warm-up: a tenth of 24
        assert [group["lr"] for group in trained.optimiser.param_groups] == [expected, expected]


def test_two_ranks_agree_see_every_slice_once_and_one_writes(tmp_path: Path) -> None:
    task(tmp_path, tmp_path / "unused", made.machine())
    run_two_ranks(RANKS, tmp_path)
    one, other = (torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["val"] == other["val"]
    seen = [row for pair in zip(one["rows"], other["rows"], strict=True) for row in pair]
    assert len(seen) == 24 and sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    state = tmp_path / "work/state-000000000024"
    assert sorted(p.name for p in state.iterdir()) == ["decisions.json", "rank-0.pt", "rank-1.pt", "shared.pt"]
