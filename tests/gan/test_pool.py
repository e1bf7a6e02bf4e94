import torch
from torch import Tensor

from gan.pool import ImagePool


def numbered(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


def values(images: Tensor) -> list[int]:
    return [int(v) for v in images.flatten()]


def test_while_it_fills_images_pass() -> None:
    pool = ImagePool(5)
    assert values(pool.exchange(numbered(1, 2))) == [1, 2]
    assert values(pool.exchange(numbered(3, 4))) == [3, 4]
    torch.manual_seed(0)
    out = values(pool.exchange(numbered(5, 6)))
    assert out[0] == 5 and out[1] in {1, 2, 3, 4, 6}


def test_a_full_pool_swaps_half_and_loses_nothing() -> None:
    torch.manual_seed(0)
    pool = ImagePool(10)
    pool.exchange(numbered(*range(10)))
    swapped, seen = 0, []
    for step in range(500):
        new = [10 + 2 * step, 11 + 2 * step]
        out = values(pool.exchange(numbered(*new)))
        swapped += sum(value not in new for value in out)
        seen += out
    assert pool.images is not None and len(pool.images) == 10
    assert sorted(seen + values(pool.images)) == list(range(1010))
    assert 450 < swapped < 550


def test_size_0_passes_images_through() -> None:
    x = numbered(1, 2)
    pool = ImagePool(0)
    assert pool.exchange(x) is x and pool.state() == {}


def test_state_goes_round() -> None:
    pool, again = ImagePool(4), ImagePool(4)
    pool.exchange(numbered(1, 2, 3))
    again.restore(pool.state(), torch.device("cpu"))
    for step in range(5):
        torch.manual_seed(step)
        first = pool.exchange(numbered(10 + step, 20 + step))
        torch.manual_seed(step)
        assert torch.equal(first, again.exchange(numbered(10 + step, 20 + step)))
    again.restore({}, torch.device("cpu"))
    assert again.images is None
