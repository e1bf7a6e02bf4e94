import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.vit.heads import CONTEXT, VIT, shape
from vit.baselines import MeanLogits, PooledLinear
from vit.head import Head, build_head, head_cost

SOURCES = [{"cnn": "a", "channels": 3, "grid": [2, 2]}, {"cnn": "b", "channels": 4, "grid": [3, 3]}]


def test_pooled_linear_is_a_linear_map_of_the_means_of_any_grids() -> None:
    head = build_head(SOURCES, shape(encoder="linear"), VIT, 6)
    maps = [torch.randn(2, 3, 2, 2), torch.randn(2, 4, 3, 3)]
    weight, bias = head.parameters()
    means = torch.cat([maps[0].flatten(2).mean(2), maps[1].flatten(2).mean(2)], dim=1)
    torch.testing.assert_close(head(*maps), means @ weight.T + bias)
    assert (head.channels, head.grid) == (7, (1, 1))


def test_pooled_linear_finds_what_logistic_regression_finds() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    y = (x @ [1.0, -2, 0.5] + rng.normal(size=80) > 0).astype(np.float32)
    head, maps, truth = PooledLinear([3], 1), torch.from_numpy(x)[:, :, None, None], torch.from_numpy(y)[:, None]
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = torch.nn.functional.binary_cross_entropy_with_logits(head(maps.expand(-1, -1, 2, 2)), truth)
        torch.autograd.backward(found)
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    expected = LogisticRegression(C=np.inf).fit(x, y).decision_function(x)
    np.testing.assert_allclose(head(maps).detach()[:, 0].numpy(), expected, atol=0.05)


def test_mean_logits_is_their_mean_and_trains_nothing() -> None:
    head = MeanLogits([6, 6, 6])
    logits = torch.randn(3, 2, 6)
    torch.testing.assert_close(head(*logits[..., None, None]), logits.mean(0))
    sources = [{"cnn": name, "channels": 6, "grid": [1, 1]} for name in "abc"]
    assert head_cost(head, sources, shape(encoder="mean-logits")) == {"parameters": 0, "flops": 0}


@pytest.mark.parametrize(
    ("form", "parameters", "flops"),
    [
        (shape(encoder="linear"), 7 * 6 + 6, 2 * 7 * 6),
        # embedding of 4 + 9 … the grid is 2×2: 4 positions and the class token
        (shape(grid=(2, 2)), None, None),
    ],
)  # fmt: skip
def test_costs_by_hand(form: object, parameters: int | None, flops: int | None) -> None:
    from vit.parameters import Shape

    assert isinstance(form, Shape)
    head = build_head(SOURCES, form, VIT, 6)
    found = head_cost(head, SOURCES, form)
    if parameters is None:
        assert isinstance(head, Head)
        d, tokens = VIT.dim, 5
        block = 2 * tokens * (4 * d * d + 2 * 2 * d * d) + 2 * 2 * tokens * tokens * d  # MLP ratio 2; q·k and weights·v
        flops = 2 * 7 * d * 4 + 2 * block + 2 * (d * d + d * 6)
        parameters = sum(p.numel() for p in head.parameters())
    assert found == {"parameters": parameters, "flops": flops}


def test_context_costs_little_more_a_slice() -> None:
    plain, context = shape(encoder="linear"), shape(encoder="linear", context=CONTEXT)
    one, other = (head_cost(build_head(SOURCES, form, VIT, 6), SOURCES, form) for form in (plain, context))
    d = CONTEXT.dim
    block = 2 * (4 * d * d + 2 * 2 * d * d) + 2 * 2 * CONTEXT.length * d
    assert other["flops"] == 2 * 7 * d + block + 2 * d * 6 > one["flops"]
