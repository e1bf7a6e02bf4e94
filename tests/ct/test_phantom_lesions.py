from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.manifest import short_hash
from corpus.masks import unpack_mask
from ct.phantom_lesions import lesions_of, write_lesions


def test_sizes_are_of_the_masks(tmp_path: Path) -> None:
    """A slice that is there twice (the third file is the first slice again) counts once in the volume."""
    small, large = np.zeros((20, 30), np.bool_), np.zeros((20, 30), np.bool_)
    small[3:5, 3:8] = True
    large[0:10, 0:10] = True
    masks = [{"epidural": small}, {"epidural": large, "subdural": np.zeros_like(large)}, {"epidural": small}]
    labels = [("ID_b", (0, 0, 0, 0, 0, 0)), ("ID_a", (1, 0, 0, 0, 0, 1)), ("ID_c", (0, 0, 0, 0, 0, 0))]
    lesions = lesions_of(labels, masks, [0, 1, 0], spacing=0.5, step=5)
    write_lesions(tmp_path, lesions)
    rows = pq.read_table(tmp_path / "lesions.parquet").to_pylist()
    assert [(row["id"], row["label"], row["labelled"]) for row in rows] == [
        ("ID_a", "epidural", True),
        ("ID_b", "epidural", False),
        ("ID_c", "epidural", False),
    ]
    assert [row["pixels"] for row in rows] == [100, 10, 10]
    assert [row["area_mm2"] for row in rows] == [25, 2.5, 2.5]
    assert [row["volume_ml"] for row in rows] == pytest.approx([110 * 0.25 * 5 / 1000] * 3)
    assert [row["hash"] for row in rows] == [short_hash(row["id"]) for row in rows]
    assert (unpack_mask(rows[0]["mask"], rows[0]["rows"], rows[0]["columns"]) == large).all()


def test_healthy_patients_alone_give_an_empty_table(tmp_path: Path) -> None:
    write_lesions(tmp_path, [])
    table = pq.read_table(tmp_path / "lesions.parquet")
    assert table.num_rows == 0 and {"id", "hash", "label", "area_mm2", "mask"} <= set(table.column_names)
