from collections.abc import Iterator

import numpy as np
import pytest

from ct.dicom import Encoding, Refused, Slice
from ct.stacks import Part, Size, average, is_outside, is_thin, plan_slabs, usual_size

SIZE = Size(8, 8, (0.5, 0.5))
STORED = Encoding(1.0, -1024.0, 12, False)


def slices(count: int, side: int = 8) -> list[Slice]:
    random = np.random.default_rng(0)
    return [Slice(random.integers(900, 1200, (side, side)).astype(np.uint16), STORED, (0.5, 0.5)) for _ in range(count)]


def averaged(position: np.ndarray, given: dict[int, Slice]) -> tuple[list[Part], list[tuple[int, Refused]]]:
    refused: list[tuple[int, Refused]] = []
    parts = average(plan_slabs(position), iter(given.items()), SIZE, lambda row, why: refused.append((row, why)))
    return list(parts), refused


def test_whole_slices_in_a_slab_weigh_the_same() -> None:
    """Ten of 1.02 mm are two of 5.1 mm."""
    given = slices(10)
    parts, _ = averaged(100 + 1.02 * np.arange(10), dict(enumerate(given)))
    assert [part.position for part in parts] == pytest.approx([102.04, 107.14])
    for part, five in zip(parts, (given[:5], given[5:]), strict=True):
        mean = np.mean([slice_.hu() for slice_ in five], axis=0)
        np.testing.assert_allclose(part.slice.hu(), mean, atol=1 / 16 + 1e-4)
        assert part.slice.pixel_spacing == (0.5, 0.5)
    assert [sorted(part.rows) for part in parts] == [list(range(5)), list(range(5, 10))]


def test_a_slice_across_a_border_counts_by_its_share() -> None:
    """Three of 3.4 mm: the one in the middle lies half in either slab, so 3.4 mm stand against 1.7."""
    a, b, c = given = slices(3)
    parts, _ = averaged(np.array([0.0, 3.4, 6.8]), dict(enumerate(given)))
    for part, (whole, half) in zip(parts, ((a, b), (c, b)), strict=True):
        np.testing.assert_allclose(part.slice.hu(), (2 * whole.hu() + half.hu()) / 3, atol=1 / 16 + 1e-4)
    assert [part.rows for part in parts] == [(0, 1), (2, 1)]


def test_slices_at_one_position_share_it() -> None:
    position = np.array([0.0, 1.7, 1.7, 3.4])
    (slab,) = plan_slabs(position)
    assert slab.shares == pytest.approx({0: 1.7, 1: 0.85, 2: 0.85, 3: 1.7})


@pytest.mark.parametrize(("gap", "count"), [(3.0, 4), (20.0, 6)])
def test_a_gap_is_filled_as_far_as_a_slab_reaches_and_no_further(gap: float, count: int) -> None:
    """Two runs of ten slices of 1 mm, `gap` mm apart: 22 mm are four slabs; of the eight of 39 mm two are not there."""
    position = np.concatenate([np.arange(10.0), 9 + gap + np.arange(10.0)])
    slabs = plan_slabs(position)
    assert len(slabs) == count
    for slab in slabs:
        assert 2.55 <= sum(slab.shares.values()) <= 5.1 + 1e-9
        assert min(abs(position - slab.position)) < 2.6
    low, high = position[0] - 0.5, position[-1] + 0.5
    assert slabs[0].position + slabs[-1].position == pytest.approx(low + high)  # in the middle of the stack


def test_a_lone_slice_stays_as_it_is() -> None:
    (given,) = slices(1)
    (part,), _ = averaged(np.array([7.0]), {0: given})
    assert part.position == 7.0
    np.testing.assert_allclose(part.slice.hu(), given.hu(), atol=1e-4)


def test_slices_that_could_not_be_read_leave_the_mean_of_the_rest_or_nothing() -> None:
    given = slices(10)
    kept = {row: given[row] for row in (0, 1, 2, 3, 8, 9)}  # four of the first slab's five, two of the second's
    (part,), refused = averaged(1.02 * np.arange(10), kept)
    assert [(row, why.rule) for row, why in refused] == [(8, "not-averaged"), (9, "not-averaged")]
    np.testing.assert_allclose(part.slice.hu(), np.mean([s.hu() for s in given[:4]], axis=0), atol=1 / 16 + 1e-4)
    assert part.rows == (0, 1, 2, 3)
    mixed = {**dict(enumerate(given)), 2: slices(1, side=9)[0]}
    parts, refused = averaged(1.02 * np.arange(10), mixed)
    assert [(row, why.rule) for row, why in refused] == [(2, "other-size")]
    assert 2 not in parts[0].rows and len(parts) == 2


def test_the_size_of_a_stack_is_that_of_most_of_its_slices() -> None:
    """Pixels of 0.488281 mm are those of 0.48828125 mm; of 0.49 mm they are not: 2 pixels more over 512."""
    written, exact, other = (Size(8, 8, (mm, mm)) for mm in (0.488281, 0.48828125, 0.49))
    assert usual_size([other, other, written, exact, exact]) in (written, exact)
    assert usual_size([Size(9, 8, (0.5, 0.5)), SIZE, SIZE]) == SIZE
    assert usual_size([Size(8, 8, None), Size(8, 8, None), SIZE]) == Size(8, 8, None)
    odd, *given = slices(11)
    given[0], given[3] = odd._replace(stored=odd.stored[:7]), given[3]._replace(pixel_spacing=(0.5001, 0.49999))
    given[9] = given[9]._replace(pixel_spacing=(0.502, 0.5))
    parts, refused = averaged(1.02 * np.arange(10), dict(enumerate(given)))
    assert [(row, why.rule) for row, why in refused] == [(0, "other-size"), (9, "other-size")]
    assert [sorted(part.rows) for part in parts] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("positions", "lost"),
    [
        # 12 mm: two slabs in the middle of them, from 0.65 mm on, where the first slice ends at 0.25.
        (0.5 * np.arange(24), [0, 23]),
        # 2.5 mm: less than half a slab.
        (0.5 * np.arange(5), [0, 1, 2, 3, 4]),
        (1.02 * np.arange(10), []),
    ],
)
def test_every_slice_is_in_a_mean_or_refused(positions: np.ndarray, lost: list[int]) -> None:
    parts, refused = averaged(positions, dict(enumerate(slices(len(positions)))))
    assert [(row, why.rule) for row, why in refused] == [(row, "not-averaged") for row in lost]
    assert {row for part in parts for row in part.rows} == set(range(len(positions))) - set(lost)


def test_no_more_is_read_ahead_than_a_slab() -> None:
    read: list[int] = []

    def coming() -> Iterator[tuple[int, Slice]]:
        for row, slice_ in enumerate(slices(60)):
            read.append(row)
            yield row, slice_

    slabs = plan_slabs(np.linspace(0, 1.02 * 59, 60))
    parts = average(slabs, coming(), SIZE, lambda *_: pytest.fail("nothing is refused"))
    for number in range(1, 12):
        next(parts)
        assert len(read) == 5 * number + 1


def test_which_spacings_are_averaged_and_which_are_flagged() -> None:
    assert [is_thin(mm) for mm in (0.6, 1.25, 3.4, 3.75, 5.0)] == [True, True, True, False, False]
    assert [is_outside(mm) for mm in (3.75, 4.8, 4.95, 5.0, 5.7, 6.0, 10.0)] == [True, True, *[False] * 3, True, True]
    assert not is_thin(float("nan"))
