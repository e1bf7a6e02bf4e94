from pathlib import Path

import numpy as np
import pytest

from corpus.shards import Shards, evenly, rows_per_shard, shard_path, shard_ranges, write_shard
from settings.errors import BadArtifact


def test_rows_of_ragged_shards_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (10, 3, 3, 1), dtype=np.uint8)
    for number, (start, stop) in enumerate([(0, 4), (4, 5), (5, 10)]):
        write_shard(tmp_path, number, rows[start:stop])
    shards = Shards(tmp_path)
    order = [9, 0, 4, 4, 3]
    assert len(shards) == 10 and shards.row_shape == (3, 3, 1)
    np.testing.assert_array_equal(shards.read(order), rows[order])
    np.testing.assert_array_equal(np.concatenate(list(shards.batches(3))), rows)
    with pytest.raises(IndexError):
        shards.read([10])
    assert not list(tmp_path.glob("*.part"))


def test_a_missing_or_damaged_shard_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="holds no images"):
        Shards(tmp_path)
    shard_path(tmp_path, 0).write_bytes(b"not an array")
    with pytest.raises(BadArtifact, match="damaged"):
        Shards(tmp_path)


def test_shard_sizes() -> None:
    assert shard_ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert rows_per_shard(2**20, 10_000) == 128
    assert rows_per_shard(2**20, 100, at_least=8) == 13
    assert rows_per_shard(2**40, 5) == 1


def test_rows_are_taken_evenly() -> None:
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(3, 9).tolist() == [0, 1, 2] and evenly(1, 5).tolist() == [0] and evenly(0, 5).tolist() == []
