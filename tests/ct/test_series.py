import math
import random
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pydicom
import pytest

from ct.dicom import Header, Known, read_headers
from ct.series import Normal, SeriesFinding, inspect_series, order, places

from .files import real_slices

AXIAL, SAGITTAL = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


class Placed(NamedTuple):
    """A slice in order; `file`: its number in the list that was ordered."""

    file: int
    frame: int
    id: str
    patient: str
    series: str
    position: float


def header(
    id_: str, patient: str, series: str, position: float, normal: Normal = AXIAL, frame: int = 0, study: str = ""
) -> Header:
    return Header(id_, patient, series, frame, position, normal, "", (), study, Known(0, 0, None), None)


def table(headers: Sequence[Header]) -> pa.Table:
    columns = {
        name: [getattr(one, name) for one in headers] for name in ("id", "patient", "series", "study", "position")
    }
    return pa.table(columns | {axis: [one.normal[n] for one in headers] for n, axis in enumerate("xyz")})


def place(headers: Sequence[Header]) -> tuple[list[Placed], list[int]]:
    """What `order` makes of headers, slice by slice, and the duplicates."""
    found = order(table(headers))
    names = zip(found.patient.to_pylist(), found.series.to_pylist(), strict=True)
    return [
        Placed(row, headers[row].frame, headers[row].id, *both, headers[row].position)
        for row, both in zip(found.rows.tolist(), names, strict=True)
    ], found.duplicates.tolist()


def findings_of(headers: Sequence[Header]) -> list[SeriesFinding]:
    found = order(table(headers))
    ordered = table(headers).take(pa.array(found.rows))
    return inspect_series(ordered.set_column(2, "series", found.series))


def headers() -> list[Header]:
    return [
        header(f"ID_{patient}{series}{z}", f"ID_pat{patient}", f"ID_ser{series}", float(z))
        for patient, series in (("a", "1"), ("a", "2"), ("b", "3"))
        for z in (10, -5, 100)
    ]


def stack(positions: Sequence[float], normal: Normal = AXIAL, start: int = 0) -> list[Header]:
    return [header(f"{start + n:04d}", "p", "s", position, normal) for n, position in enumerate(positions)]


def finding(found: Sequence[Header]) -> SeriesFinding:
    (one,) = findings_of(found)
    return one


def test_slices_lie_by_patient_series_and_number_not_text_of_the_position() -> None:
    placed, duplicates = place(headers())
    assert not duplicates and len(placed) == 9
    for start in (0, 3, 6):
        assert [slice_.position for slice_ in placed[start : start + 3]] == [-5, 10, 100]
        assert len({(slice_.patient, slice_.series) for slice_ in placed[start : start + 3]}) == 1
    assert [slice_.patient for slice_ in placed] == sorted(slice_.patient for slice_ in placed)
    assert {slice_.patient for slice_ in placed} == {"p0001", "p0002"}
    assert {slice_.series for slice_ in placed} == {"s0001", "s0002", "s0003"}


def test_the_order_of_the_files_does_not_matter() -> None:
    several = [*headers(), *stack([0, 0, 5, 5], start=10), *stack([1, 2, 3], SAGITTAL, start=20)]
    shuffled = list(several)
    random.Random(0).shuffle(shuffled)
    assert [s[1:] for s in place(shuffled)[0]] == [s[1:] for s in place(several)[0]]
    assert findings_of(shuffled) == findings_of(several)


def test_a_second_file_of_one_slice_is_a_duplicate() -> None:
    first, second = headers()[:2]
    placed, duplicates = place([second, first, first])
    assert duplicates == [2] and sorted(slice_.file for slice_ in placed) == [0, 1]
    assert not place([])[0] and not findings_of([])


def test_one_series_or_study_under_two_patients_is_two_series_and_links_them() -> None:
    found = [
        header("1", "a", "s", 0), header("2", "b", "s", 0), header("3", "b", "t", 0, study="u"),
        header("4", "c", "v", 0, study="u"), header("5", "d", "w", 0), header("6", "e", "u", 0),
    ]  # fmt: skip
    placed, _ = place(found)
    assert len({slice_.series for slice_ in placed}) == 6
    name = {found[slice_.file].patient: slice_.patient for slice_ in placed}
    linked = dict(zip((slice_.patient for slice_ in placed), order(table(found)).linked.to_pylist(), strict=True))
    first = min(name[patient] for patient in "abc")
    assert linked == {name["a"]: first, name["b"]: first, name["c"]: first, **{name[p]: name[p] for p in "de"}}


def test_ordinals_sort_as_text_beyond_9999() -> None:
    placed, _ = place([header(str(n), str(n), "s", 0) for n in range(10_001)])
    assert placed[0].patient == "p00001" and placed[-1].patient == "p10001"


def test_frames_of_one_file_are_slices_of_their_own() -> None:
    placed, duplicates = place([header(f"u.{n + 1}", "p", "s", -n, frame=n) for n in range(3)])
    assert not duplicates and [(slice_.file, slice_.frame) for slice_ in placed] == [(2, 2), (1, 1), (0, 0)]


def test_slices_at_one_position_are_in_order_of_their_ids() -> None:
    placed, _ = place([header(id_, "p", "s", 5) for id_ in ("c", "a", "b")])
    assert [slice_.id for slice_ in placed] == ["a", "b", "c"]


def test_each_orientation_is_in_order_and_the_largest_comes_first() -> None:
    mixed = [*stack([7, 8, 9], SAGITTAL), *stack([30, 10, 20, 0], start=10)]
    assert [slice_.position for slice_ in place(mixed)[0]] == [0, 10, 20, 30, 7, 8, 9]
    assert finding(mixed) == ("s0001", 7, 10, 0, 0, 0, 2)


@pytest.mark.parametrize(("degrees", "orientations"), [(0.9, 1), (1.1, 2), (180, 2)])
def test_normals_are_of_one_orientation_within_a_degree(degrees: float, orientations: int) -> None:
    turned = (0.0, round(math.sin(math.radians(degrees)), 4), round(math.cos(math.radians(degrees)), 4))
    assert finding([*stack([0, 5, 10]), *stack([15, 20], turned, start=10)]).orientations == orientations


@pytest.mark.parametrize("degrees", [0.0, 0.5, 14.5, 27.0])
def test_the_tilt_is_the_angle_to_the_table_in_either_direction(degrees: float) -> None:
    sine, cosine = (round(function(math.radians(degrees)), 4) for function in (math.sin, math.cos))
    for normal in ((0.0, -sine, cosine), (sine, 0.0, -cosine)):
        assert finding(stack([0, 5], normal)).tilt == pytest.approx(degrees, abs=0.01)


@pytest.mark.parametrize(
    ("steps", "spacing", "missing"),
    [
        ([5] * 10, 5, 0),
        ([5] * 4 + [10] + [5] * 4, 5, 1),
        ([5] * 4 + [15] + [5] * 4, 5, 2),
        ([5] * 4 + [10, 5, 10] + [5] * 4, 5, 2),
        ([10] + [5] * 4, 5, 1),
        ([5] * 4 + [8.25] + [5] * 4, 5, 1),
        ([5] * 4 + [7.4] + [5] * 4, 5, 0),
        ([2.5] * 12 + [5] * 8, 2.5, 0),  # thin slices at the base
        ([2.5] * 12 + [5] * 4 + [10] + [5] * 4, 2.5, 1),
        ([2.57] * 10 + [0.74] + [5.13] * 10, 2.57, 0),  # two passes that overlap a little
        ([4.25, 0.75] * 6 + [5] * 4, 4.25, 0),  # … and much
        ([0.75, 2.7, 1.95] * 6 + [0.61, 4.79] * 6 + [5.39] * 6, 2.325, 0),
        ([5, 10], 5, 1),
        ([30], 30, 0),
    ],
)
def test_gaps_are_told_from_a_spacing_that_changes(steps: list[float], spacing: float, missing: int) -> None:
    found = finding(stack([0, *np.cumsum(steps)]))
    assert (found.missing, found.duplicates) == (missing, 0)
    assert found.spacing == pytest.approx(spacing, abs=0.01)


def test_slices_at_one_position_are_counted_and_are_no_step() -> None:
    found = finding(stack([0, 0, 5, 5, 5.0001, 10]))
    assert (found.duplicates, found.missing) == (3, 0) and found.spacing == pytest.approx(5, abs=0.001)
    lone = finding(stack([7, 7]))
    assert lone.duplicates == 1 and math.isnan(lone.spacing)


def test_places_are_ranks_in_the_series() -> None:
    assert np.allclose(places(pa.array(list("aaabcc")).dictionary_encode()), [0, 0.5, 1, 0.5, 0, 1])
    assert places(pa.array([], pa.string()).dictionary_encode()).dtype == np.float32


def test_real_series_equal_what_their_tables_of_positions_say() -> None:
    """The table moves along z by `step`; slices that are tilted by t lie step × cos(t) apart."""
    files = real_slices()
    found = [one for file in files for one in read_headers(file)]
    placed, duplicates = place(found)
    assert not duplicates and all(one.study for one in found)
    assert len({slice_.patient for slice_ in placed}) == len(set(order(table(found)).linked.to_pylist()))
    findings = findings_of(found)
    tilted = [one for one in findings if one.tilt > 1]
    assert len(findings) == 39 and len(tilted) == 27 and max(one.tilt for one in findings) == pytest.approx(27, abs=0.1)
    whole = {one.series: one for one in findings if one.slices >= 28}
    assert len(whole) == 6 and not any(one.missing for one in whole.values())
    heights: dict[str, list[float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RSNA's `ID_…` are no valid UIDs
        for slice_ in placed:
            if slice_.series in whole:
                dataset = pydicom.dcmread(files[slice_.file], stop_before_pixels=True)
                heights.setdefault(slice_.series, []).append(float(dataset.ImagePositionPatient[2]))
    assert sum(one.duplicates > 0 for one in findings) == 1
    for name, z in heights.items():
        assert z == sorted(z) or z == sorted(z, reverse=True)
        moves = np.abs(np.diff(z))
        assert whole[name].duplicates == (moves < 0.1).sum()
        step = float(np.median(moves[moves > 0.1]))
        assert step * math.cos(math.radians(whole[name].tilt)) == pytest.approx(whole[name].spacing, abs=0.01)
