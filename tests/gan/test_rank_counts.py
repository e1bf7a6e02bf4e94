"""Two ranks, on two machines, against themselves, bit for bit, and against one process, within rounding."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from gan.train import make_translator
from tests.gan.made import machine, make_corpora, make_run, make_sources, parameters
from tests.gan.test_train import everything
from tests.training.ranks import run_two_ranks
from training.loop import train

RATE, IMAGES = 2e-4, 8
RANKS = """
import sys
from pathlib import Path
import torch
from tests.gan.made import machine
from tests.gan.test_rank_counts import default_run, plain_run
root = Path(sys.argv[1])
accelerator, decisions = machine()
ends = [default_run(root, root / name, accelerator, decisions) for name in ("first", "again")]
plain = plain_run(root, root / "plain", accelerator, decisions)
torch.save({"ends": ends, "plain": plain}, root / f"end-{accelerator.process_index}.pt")
accelerator.end_training()
"""


def default_run(root: Path, work: Path, accelerator: Any, decisions: Any) -> list[torch.Tensor]:
    """A training with pools, noise and random views: all of its state at the end, pools included."""
    chosen = parameters(images=12)
    run = make_run(work, chosen)
    task = make_translator(make_sources(root, chosen), chosen, run, accelerator, decisions)
    train(task, run, accelerator, decisions)
    return everything(task)


def plain_run(root: Path, work: Path, accelerator: Any, decisions: Any) -> dict[str, Any]:
    """Four steps in which nothing is drawn: the losses and the weights at the end.

    Draws are a function of the rank, so another number of ranks has other views, noise and pools.
    """
    chosen = parameters(
        images=IMAGES, pool=0, noise_sd=0, round_fakes=False, learning_rate=RATE,
        photo_zoom=[1, 1], photo_flip=False, ct_view="full", ct_rotate=0, ct_flip=False,
    )  # fmt: skip
    run = make_run(work, chosen)
    task = make_translator(make_sources(root, chosen), chosen, run, accelerator, decisions)
    with patch("gan.crops.dithered", lambda images: images):
        curves = train(task, run, accelerator, decisions)
    return {"losses": curves.training, "weights": task.state()["generators"]}


def test_two_ranks_repeat_bit_for_bit_and_equal_one_process(tmp_path: Path) -> None:
    """Losses to 1e-4 (a rank's own are of its half, the pair's mean is compared), kernels to a hundredth of the
    longest way that four steps of Adam can go. Biases before a norm have no gradient but rounding, which Adam scales
    up, and no effect: they are left out."""
    make_corpora(tmp_path)
    run_two_ranks(RANKS, tmp_path, machines=2)
    ends = [torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in range(2)]
    for end in ends:
        first, again = end["ends"]
        assert len(first) > 100 and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    alone = plain_run(tmp_path, tmp_path / "alone", *machine())
    for row, *halves in zip(alone["losses"], *(end["plain"]["losses"] for end in ends), strict=True):
        for name, loss in row.items():
            assert loss == pytest.approx(sum(half[name] for half in halves) / 2, rel=1e-4), name
    moved = 0
    for name, weight in alone["weights"].items():
        if name.endswith("weight"):
            moved += 1
            assert torch.allclose(weight, ends[0]["plain"]["weights"][name], atol=IMAGES / 2 * RATE / 100), name
    assert moved == 2 * 8
