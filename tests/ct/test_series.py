import random

import numpy as np

from corpus.manifest import short_hash
from ct.dicom import Header
from ct.series import order, places


def headers() -> list[Header]:
    return [
        Header(f"ID_{patient}{series}{z}", f"ID_pat{patient}", f"ID_ser{series}", float(z))
        for patient, series in (("a", "1"), ("a", "2"), ("b", "3"))
        for z in (10, -5, 100)
    ]


def test_slices_lie_by_patient_series_and_number_not_text_of_the_position() -> None:
    placed, duplicates = order(headers(), hashed=False)
    assert not duplicates and len(placed) == 9
    for start in (0, 3, 6):
        assert [slice_.position for slice_ in placed[start : start + 3]] == [-5, 10, 100]
        assert len({(slice_.patient, slice_.series) for slice_ in placed[start : start + 3]}) == 1
    assert [slice_.patient for slice_ in placed] == sorted(slice_.patient for slice_ in placed)
    assert {slice_.patient for slice_ in placed} == {"p0001", "p0002"}
    assert {slice_.series for slice_ in placed} == {"s0001", "s0002", "s0003"}


def test_the_order_of_the_files_does_not_matter() -> None:
    shuffled = headers()
    random.Random(0).shuffle(shuffled)
    assert [s[1:] for s in order(shuffled, True)[0]] == [s[1:] for s in order(headers(), True)[0]]


def test_ids_are_hashes_unless_they_are_wanted_as_they_are() -> None:
    assert {slice_.id for slice_ in order(headers(), True)[0]} == {short_hash(header.id) for header in headers()}
    assert {slice_.id for slice_ in order(headers(), False)[0]} == {header.id for header in headers()}


def test_a_second_file_of_one_slice_is_a_duplicate_and_unreadable_ones_are_skipped() -> None:
    first, second = headers()[:2]
    placed, duplicates = order([None, first, second, first], hashed=True)
    assert duplicates == [3] and sorted(slice_.file for slice_ in placed) == [1, 2]


def test_one_series_uid_under_two_patients_is_two_series() -> None:
    placed, _ = order([Header("1", "a", "s", 0), Header("2", "b", "s", 0)], hashed=True)
    assert len({slice_.series for slice_ in placed}) == 2


def test_ordinals_sort_as_text_beyond_9999() -> None:
    placed, _ = order([Header(str(n), str(n), "s", 0) for n in range(10_001)], hashed=True)
    assert placed[0].patient == "p00001" and placed[-1].patient == "p10001"


def test_places_are_ranks_in_the_series() -> None:
    assert np.allclose(places(["a", "a", "a", "b", "c", "c"]), [0, 0.5, 1, 0.5, 0, 1])
    assert places([]).dtype == np.float32
