import torch
from torch import Tensor

from gan.pool import ImagePool


def numbered(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


def pool_of(size: int) -> ImagePool:
    return ImagePool(size, torch.device("cpu"))


def values(images: Tensor) -> list[int]:
    return [int(v) for v in images.flatten()]


def test_while_it_fills_images_pass() -> None:
    pool = pool_of(5)
    assert values(pool.exchange(numbered(1, 2), 0)) == [1, 2]
    assert values(pool.exchange(numbered(3, 4), 1)) == [3, 4]
    out = values(pool.exchange(numbered(5, 6), 2))
    assert out[0] == 5 and out[1] in {1, 2, 3, 4, 6}


def test_a_full_pool_swaps_half_and_loses_nothing() -> None:
    pool = pool_of(10)
    pool.exchange(numbered(*range(10)), 0)
    swapped, seen = 0, []
    for step in range(500):
        new = [10 + 2 * step, 11 + 2 * step]
        out = values(pool.exchange(numbered(*new), step))
        swapped += sum(value not in new for value in out)
        seen += out
    assert pool.images is not None and len(pool.images) == 10
    assert sorted(seen + values(pool.images)) == list(range(1010))
    assert 450 < swapped < 550


def test_size_0_passes_images_through() -> None:
    x = numbered(1, 2)
    pool = pool_of(0)
    assert pool.exchange(x, 0) is x and pool.state() == {}


def test_state_goes_round() -> None:
    pool, again = pool_of(4), pool_of(4)
    pool.exchange(numbered(1, 2, 3), 0)
    again.restore(pool.state())
    for step in range(5):
        first = pool.exchange(numbered(10 + step, 20 + step), step)
        assert torch.equal(first, again.exchange(numbered(10 + step, 20 + step), step))
    again.restore({})
    assert again.images is None


def test_what_else_is_drawn_changes_nothing_and_nothing_else_is_changed() -> None:
    shown = []
    for noise in (0, 7):
        pool = pool_of(4)
        torch.manual_seed(1)
        torch.rand(noise)
        shown.append([values(pool.exchange(numbered(2 * step, 2 * step + 1), step)) for step in range(20)])
        left = torch.rand(1)
        torch.manual_seed(1)
        torch.rand(noise)
        assert left == torch.rand(1), "the global generator is left alone"
    assert shown[0] == shown[1]
