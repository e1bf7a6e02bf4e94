import csv
import io

import numpy as np
import pytest

from evaluation.submission import SUBTYPES, submission_csv
from settings.errors import BadArtifact, BadInput

IDS = ["ID_b", "ID_a"]
P = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 1e-12, 0.25, 1, 0.75, 0.9]])


def rows(content: str) -> list[tuple[str, float]]:
    header, *lines = csv.reader(io.StringIO(content))
    assert header == ["ID", "Label"]
    return [(name, float(value)) for name, value in lines]


def test_six_rows_a_slice_in_kaggles_order() -> None:
    found = rows(submission_csv(IDS, P, SUBTYPES))
    assert [name for name, _ in found][:7] == [f"ID_b_{name}" for name in SUBTYPES] + ["ID_a_epidural"]
    assert [value for _, value in found] == P.ravel().tolist()


def test_columns_are_found_by_name_and_rows_follow_the_sample() -> None:
    labels = ["any", *SUBTYPES[:5]]
    order = ["ID_a_any", "ID_b_epidural", "ID_a_epidural"]
    found = rows(submission_csv(IDS, P[:, [5, 0, 1, 2, 3, 4]], labels, order))
    assert found == [("ID_a_any", 0.9), ("ID_b_epidural", 0.1), ("ID_a_epidural", 0.0)]


def test_what_kaggle_would_refuse_is_refused() -> None:
    with pytest.raises(BadInput, match=r"no answer for 1 rows, first ID_c_any"):
        submission_csv(IDS, P, SUBTYPES, ["ID_a_any", "ID_c_any"])
    with pytest.raises(BadArtifact, match=r"prepare_ct\.ids: rsna"):
        submission_csv(["ID_b", "0123456789abcdef"], P, SUBTYPES)
    with pytest.raises(BadArtifact, match="two answers"):
        submission_csv(["ID_b", "ID_b"], P, SUBTYPES)
    with pytest.raises(BadArtifact, match="within 0 … 1"):
        submission_csv(IDS, P + np.nan, SUBTYPES)
    with pytest.raises(BadArtifact, match="n×6"):
        submission_csv(IDS, P[:, :5], SUBTYPES)
