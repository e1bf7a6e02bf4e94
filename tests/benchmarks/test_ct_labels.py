from benchmarks.ct_labels import long_csv
from ct.labels import LABELS, read_labels


def test_the_csv_has_six_rows_a_slice_and_nothing_odd() -> None:
    labels, findings = read_labels(long_csv(500), hashed=False)
    assert labels.num_rows == 500 and not findings.num_rows
    assert 0 < sum(labels.column(LABELS[-1]).to_pylist()) < 250
