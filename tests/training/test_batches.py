import numpy as np
import pytest
import torch

from settings.errors import BadParameter
from training.batches import BalancedSampler, IndexSampler, seed_step


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


MARKED = np.arange(20) < 4  # one in five


def test_a_balanced_pass_has_the_asked_share_and_uses_all_rows_in_turn() -> None:
    sampler = BalancedSampler(MARKED, 0.4, batch=4, seed=3)
    rows = np.concatenate([sampler.rows(seen) for seen in range(0, 80, 4)])
    passes = rows.reshape(4, 20)
    assert [int(MARKED[row].sum()) for row in passes] == [8, 8, 8, 8]
    counts = np.bincount(rows, minlength=20)
    assert counts[MARKED].tolist() == [8, 8, 8, 8], "8 of 20 images, four rows, four passes"
    assert set(counts[~MARKED]) == {3}, "48 images of 16 rows"
    assert not np.array_equal(passes[0], passes[1])
    places = np.flatnonzero(MARKED[passes[0]])
    assert places.tolist() != list(range(8)), "mixed, not one kind after the other"


def test_balanced_batches_are_shared_by_ranks_and_need_no_memory() -> None:
    whole = BalancedSampler(MARKED, 0.5, 4, seed=1)
    parts = [BalancedSampler(MARKED, 0.5, 4, seed=1, rank=r, ranks=2) for r in range(2)]
    for seen in (0, 16, 40):
        both = np.stack([part.rows(seen) for part in parts], axis=1).reshape(-1)
        np.testing.assert_array_equal(both, whole.rows(seen))
    np.testing.assert_array_equal(whole.rows(36), BalancedSampler(MARKED, 0.5, 4, seed=1).rows(36))


def test_one_kind_alone_cannot_be_balanced() -> None:
    with pytest.raises(BadParameter, match="nothing to balance"):
        BalancedSampler(np.ones(5, bool), 0.5, 1, seed=0)


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
