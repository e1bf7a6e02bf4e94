from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ct.labels import LABELS
from tests.backbones import made
from tests.vit.heads import CONTEXT, VIT, maps, shape
from vit.baselines import PooledLinear
from vit.encoder import AnyHead
from vit.head import Head, build_head
from vit.inputs import Inputs
from vit.occlusion import occlusion, places

CHANNELS, GRID, PLANTED = 5, 3, (2, 1)
ROWS, REFERENCE = np.array([31, 3, 30]), np.arange(24, 30)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """The maps of one CNN, twice."""
    folder = maps(tmp_path / "a", CHANNELS, grid=GRID)
    return Inputs([folder, folder])


class Planted(AnyHead):
    """Answers with the sum of all channels at one place, squared and not."""

    def forward(self, *given: Tensor) -> Tensor:
        there = sum(part[:, :, PLANTED[0], PLANTED[1]].sum(1) for part in given)
        assert isinstance(there, Tensor)
        return torch.stack([there, there**2], dim=1)


def falls(head: AnyHead, inputs: Inputs, batch: int = 4, rows: np.ndarray = ROWS) -> Any:
    return occlusion(head, inputs, rows, REFERENCE, batch, *made.machine())


def read(inputs: Inputs, rows: np.ndarray) -> Tensor:
    (found,) = inputs.read(rows)
    return found.float()


def test_a_head_that_hangs_on_one_place_points_there(inputs: Inputs) -> None:
    found = falls(Planted(), inputs)
    assert found.shape == (3, 2, GRID, GRID)
    elsewhere = np.ones((GRID, GRID), bool)
    elsewhere[PLANTED] = False
    assert not found[:, :, elsewhere].any()
    here, usual = (read(inputs, rows)[:, :, PLANTED[0], PLANTED[1]] for rows in (ROWS, REFERENCE))
    expected = 2 * here.sum(1) - 2 * usual.mean(0).sum()
    np.testing.assert_allclose(found[:, 0, PLANTED[0], PLANTED[1]], expected, atol=1e-4)


def test_of_a_linear_head_it_is_what_the_formula_says(inputs: Inputs) -> None:
    """w · (here - usual) / places, whatever the batch."""
    torch.manual_seed(0)
    head = PooledLinear([CHANNELS, CHANNELS], len(LABELS))
    assert places(head, inputs) == (GRID, GRID)
    away = (read(inputs, ROWS) - read(inputs, REFERENCE).mean(0)).repeat(1, 2, 1, 1)
    expected = torch.einsum("oc,nchw->nohw", head.classify.weight, away).detach() / GRID**2
    for batch in (1, 64):
        np.testing.assert_allclose(falls(head, inputs, batch), expected, atol=1e-5)


def test_a_transformer_that_reads_one_token_points_there(inputs: Inputs) -> None:
    """Its blocks add nothing and its class token is that place's own: planted in a real head, not beside it."""
    head = build_head(inputs.sources, shape(), VIT, 6)
    assert isinstance(head, Head)
    for block in head.encoder.blocks:
        for last in (block.attn.proj, block.mlp.fc2):  # type: ignore[union-attr]
            nn.init.zeros_(last.weight)  # type: ignore[arg-type, union-attr]
            nn.init.zeros_(last.bias)  # type: ignore[arg-type, union-attr]
    token = 1 + PLANTED[0] * GRID + PLANTED[1]
    head.encoder.norm.register_forward_hook(lambda *given: given[2][:, [token]])
    found = np.abs(falls(head, inputs))
    assert [np.unravel_index(one.argmax(), one.shape) for one in found[:, 5]] == [PLANTED] * 3
    assert (found[:, 5].reshape(3, -1) > 1e-6).sum() == 3


def test_with_context_the_neighbours_stay_as_they_are(inputs: Inputs) -> None:
    torch.manual_seed(0)
    head = build_head(inputs.sources, shape(context=CONTEXT), VIT, 6).eval()
    assert places(head, inputs) == (GRID, GRID)
    found = falls(head, inputs, batch=7, rows=np.array([3]))
    near = np.array([3, 4, 5])  # made: three slices a series
    seen, usual = read(inputs, near), read(inputs, REFERENCE).mean(0)
    hidden = seen.clone()
    hidden[0, :, 0, 2] = usual[:, 0, 2]
    slots = (torch.arange(3), torch.from_numpy(inputs.places()[1][near])[None], torch.ones(1, 3, dtype=torch.bool))
    with torch.no_grad():
        expected = (head(seen, seen, *slots) - head(hidden, hidden, *slots))[0]
    np.testing.assert_allclose(found[0, :, 0, 2], expected, atol=1e-5)


def test_what_has_no_places(tmp_path: Path, inputs: Inputs) -> None:
    flat = Inputs([maps(tmp_path / "flat", grid=1)])
    assert places(PooledLinear([CHANNELS], 6), flat) is None
    image = Inputs([made.ct(tmp_path / "images")])
    assert places(build_head(image.sources, shape(patch=8), VIT, 6), image) == (4, 4)
    assert places(build_head(image.sources, shape(patch=4), VIT, 6), image) == (7, 7), "of 8×8 tokens"
