import numpy as np
import pytest
import torch

from settings.errors import BadParameter
from training.batches import IndexSampler, seed_step


def test_every_pass_shows_every_row_once() -> None:
    sampler = IndexSampler(10, 4, seed=3)
    rows = np.concatenate([sampler.rows(seen) for seen in range(0, 40, 4)])
    for start in range(0, 40, 10):
        assert sorted(rows[start : start + 10]) == list(range(10))
    assert not np.array_equal(rows[:10], rows[10:20])


def test_ranks_share_the_global_batch() -> None:
    whole = IndexSampler(10, 4, seed=3)
    parts = [IndexSampler(10, 4, seed=3, rank=r, ranks=2) for r in range(2)]
    for seen in (0, 8, 36):
        both = np.stack([part.rows(seen) for part in parts], axis=1).reshape(-1)
        np.testing.assert_array_equal(both, whole.rows(seen))


def test_rows_do_not_depend_on_what_was_asked_before() -> None:
    forward = IndexSampler(7, 3, seed=1)
    for seen in range(0, 30, 3):
        forward.rows(seen)
    np.testing.assert_array_equal(forward.rows(30), IndexSampler(7, 3, seed=1).rows(30))


def test_a_batch_larger_than_the_corpus_spans_passes() -> None:
    assert sorted(IndexSampler(3, 6, seed=0).rows(0)) == [0, 0, 1, 1, 2, 2]


def test_impossible_settings() -> None:
    with pytest.raises(BadParameter, match="no images"):
        IndexSampler(0, 4, seed=0)
    with pytest.raises(BadParameter, match="cannot be shared by 3 ranks"):
        IndexSampler(10, 4, seed=0, ranks=3)


def test_steps_and_ranks_have_their_own_randomness() -> None:
    draws = []
    for seen, rank in [(0, 0), (0, 1), (8, 0), (0, 0)]:
        seed_step(5, seen, rank)
        draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[3])
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
