from pathlib import Path

import pytest

from evaluation.labelled import read_labelled
from settings.errors import BadArtifact
from tests.evaluation.made import LABELS, make_split


def test_labels_with_their_patients(tmp_path: Path) -> None:
    make_split(tmp_path)
    split = tmp_path / "artifacts/split"
    test = read_labelled(split / "labels-test.parquet", split / "parts.parquet", "test", LABELS)
    assert test.truth.shape == (20, 6) and len(set(test.patients)) == 5 and set(test.halves) == {""}
    with pytest.raises(BadArtifact, match="not of part val"):
        read_labelled(split / "labels-test.parquet", split / "parts.parquet", "val", LABELS)
