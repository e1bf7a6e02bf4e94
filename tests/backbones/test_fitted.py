from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backbones.fitted import carry_fitted, check_fitted, write_fitted
from settings.errors import BadArtifact

PARTS = {"a": ("train", "cnn"), "b": ("train", "cnn"), "c": ("train", "head"), "d": ("val", ""), "e": ("test", "")}


def parts(folder: Path) -> Path:
    table = pa.table(
        {"id": list(PARTS), "part": [p for p, _ in PARTS.values()], "half": [h for _, h in PARTS.values()]}
    )
    pq.write_table(table, folder / "parts.parquet")
    return folder / "parts.parquet"


def fitted_on(folder: Path, ids: str) -> Path:
    folder.mkdir()
    write_fitted(folder, pa.chunked_array([list(ids)]))
    return folder


def test_a_cnn_of_the_cnn_half_is_let_in_and_its_list_travels(tmp_path: Path) -> None:
    check_fitted(fitted_on(tmp_path / "whole", "ba"), parts(tmp_path))
    (tmp_path / "features").mkdir()
    carry_fitted(fitted_on(tmp_path / "some", "b"), tmp_path / "features")
    check_fitted(tmp_path / "features", parts(tmp_path))


@pytest.mark.parametrize("stranger", ["c", "d", "e", "x"])
def test_one_slice_of_another_part_is_enough_to_refuse(stranger: str, tmp_path: Path) -> None:
    """Head half, val, test, or of no part that is known."""
    with pytest.raises(
        BadArtifact, match=rf"fitted on 1 slices outside the CNN half of this split \(first {stranger}\)"
    ):
        check_fitted(fitted_on(tmp_path / "cnn", f"a{stranger}b"), parts(tmp_path))


def test_a_cnn_that_does_not_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="does not say which slices"):
        check_fitted(tmp_path, parts(tmp_path))
    with pytest.raises(BadArtifact, match="does not say which slices"):
        carry_fitted(tmp_path, tmp_path)
