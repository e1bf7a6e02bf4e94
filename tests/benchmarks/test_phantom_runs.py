import numpy as np
import pytest

from benchmarks.phantom_runs import how_many, run_lengths, show, summary, together

ONE = np.array([[0, 1, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1]], np.uint8)
OTHER = np.array([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1]], np.uint8)


def test_runs_end_with_their_series() -> None:
    runs = run_lengths([ONE, OTHER])
    assert (runs["IPH"], runs["IVH"], runs["SDH"], runs["any"]) == ([2, 1], [1], [3], [2, 1, 3])
    assert runs["EDH"] == []


def test_what_lies_together_is_counted_by_slice() -> None:
    found = together([ONE, OTHER])
    assert found["IPH"]["IVH"] == pytest.approx(1 / 3) and found["IVH"]["IPH"] == 1 and found["SDH"]["IPH"] == 0
    assert how_many([ONE, OTHER]) == pytest.approx([5 / 6, 1 / 6, 0, 0, 0])


def test_the_table_names_every_label(capsys: pytest.CaptureFixture[str]) -> None:
    found = summary([ONE, OTHER], [ONE])
    show(found)
    printed = capsys.readouterr().out
    assert "1.00 (0.42)" in printed and "IPH: 1/2/2 (1/5/11), 2 runs" in printed and "EDH: none (2/5/12)" in printed
    assert found["positive_patients"]["any"] == 1 and found["positive_slices"]["IPH"] == pytest.approx(3 / 7)
