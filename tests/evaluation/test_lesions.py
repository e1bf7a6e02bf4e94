from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.lesions import EDGES, auc_by_size, read_areas
from settings.errors import BadArtifact

LABELS = ("subdural", "any")


def lesions(folder: Path, rows: list[tuple[str, str, bool, float]]) -> Path:
    names = ("id", "hash", "label", "labelled", "area_mm2")
    columns = list(zip(*[(id_, f"#{id_}", label, seen, area) for id_, label, seen, area in rows], strict=True))
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), folder / "lesions.parquet")
    return folder


def scores(path: Path, truth: list[int], logits: list[float], patients: list[str] | None = None) -> Path:
    ids = [f"s{i}" for i in range(len(truth))]
    columns: dict[str, Any] = {
        "id": ids,
        "patient": patients or [f"p{i}" for i in range(len(truth))],
        "part": ["test"] * len(ids),
    }
    columns |= {name: np.array(truth, np.uint8) for name in LABELS}
    columns |= {f"logit_{name}": np.array(logits, np.float32) for name in LABELS}
    pq.write_table(pa.table(columns), path)
    return path


def test_a_small_bleed_that_is_missed_shows_in_its_bin_alone(tmp_path: Path) -> None:
    """Negatives score 1 and 3. The small positives score 2 (beat one of two), the large ones 4 (beat both)."""
    masks = lesions(
        tmp_path,
        [(f"s{i}", "subdural", True, area) for start, area in ((0, 20.0), (2, 900.0)) for i in range(start, 40, 4)],
    )
    made = scores(tmp_path / "scores.parquet", [1, 0, 1, 0] * 10, [2, 1, 4, 3] * 10)
    rows = auc_by_size("v", made, masks, LABELS, False)
    found = {row.low: row for row in rows if row.label == "subdural"}
    assert found[0.0].auc == 0.5 and found[600.0].auc == 1.0
    assert found[60.0].auc is None and found[60.0].slices == 0
    assert [found[edge].patients for edge in EDGES[:-1]] == [10, 0, 0, 10]


@pytest.mark.parametrize(("positive", "negative", "given"), [(10, 10, True), (9, 10, False), (10, 9, False)])
def test_few_patients_have_a_count_and_no_auc(tmp_path: Path, positive: int, negative: int, given: bool) -> None:
    """Three slices a patient: it is patients that count."""
    count = 3 * (positive + negative)
    truth = [int(i < 3 * positive) for i in range(count)]
    masks = lesions(tmp_path, [(f"s{i}", "subdural", True, 20.0) for i in range(3 * positive)])
    made = scores(
        tmp_path / "scores.parquet", truth, [float(one) for one in truth], [f"p{i // 3}" for i in range(count)]
    )
    first = auc_by_size("v", made, masks, LABELS, False)[0]
    assert (first.slices, first.patients) == (3 * positive, positive)
    assert first.auc == (1.0 if given else None)


def test_blood_that_is_not_labelled_has_no_area_and_any_is_the_sum(tmp_path: Path) -> None:
    masks = lesions(
        tmp_path, [("s0", "epidural", True, 5.0), ("s0", "subdural", True, 7.0), ("s1", "subdural", False, 9)]
    )
    areas = read_areas(masks, ["#s0", "#s1"], ("epidural", "subdural", "any"), hashed=True)
    assert areas.tolist() == [[5.0, 7.0, 12.0], [0.0, 0.0, 0.0]]


def test_masks_of_other_phantoms_are_refused(tmp_path: Path) -> None:
    masks = lesions(tmp_path, [("other", "subdural", True, 20.0)])
    with pytest.raises(BadArtifact, match="has no blood on a slice"):
        auc_by_size("v", scores(tmp_path / "scores.parquet", [1, 0], [2, 1]), masks, LABELS, False)
