import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from ct.phantom_bleeds import SUTURES, Bleed, draw_bleeds
from ct.phantom_head import Head, draw_head, on_inner_table
from ct.phantom_slice import SIDE, Painted, Pose, paint
from tests.ct.phantoms import phantom_parameters

SPACING = 0.47
HOW = phantom_parameters().bleeds


@pytest.fixture(scope="module")
def head() -> Head:
    return draw_head(np.random.default_rng(5), mimic_share=0, noise=3.1, cupping=0)


def slice_at(head: Head, bleeds: list[Bleed], height: float) -> Painted:
    """A slice without tilt whose pixel (r, c) lies at x = (c - 256) * SPACING, y = (r - 256) * SPACING."""
    pose = Pose(SPACING, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0), 100.0, height, 5.0, (118.0, 4.0, 150.0, -10.0))
    return paint(head, bleeds, pose, 0)


def places(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """x and y in mm of the pixels of a mask."""
    row, column = np.nonzero(mask)
    return (column - SIDE / 2) * SPACING, (row - SIDE / 2) * SPACING


def at_skull(head: Head, label: str, place: str, angle: float, z: float, size: tuple[float, float, float]) -> Bleed:
    point, normal = on_inner_table(head, (math.cos(angle), math.sin(angle), 0), z)
    x, y, height = (float(v) for v in point)
    a, b, c = (float(v) for v in normal)
    return Bleed(label, place, (x, y, height), size, 60.0, 0.0, "none", 1.2, (a, b, c))


def test_an_epidural_bleed_stops_at_the_sutures(head: Head) -> None:
    bleed = at_skull(head, "epidural", "lens", 0.3, 20.0, (60.0, 18.0, 0.0))  # far wider than the bone between them
    _, y = places(slice_at(head, [bleed], 20.0).masks["epidural"])
    assert len(y) > 1000
    assert SUTURES[1] - 1 < y.min() and y.max() < SUTURES[2] + 1


def test_a_subdural_bleed_crosses_sutures_but_not_the_midline(head: Head) -> None:
    bleed = at_skull(head, "subdural", "convexity", 0.9, 20.0, (110.0, 9.0, 0.0))
    x, y = places(slice_at(head, [bleed], 20.0).masks["subdural"])
    assert y.min() < SUTURES[1] and y.max() > SUTURES[2]
    assert x.min() > 0


def test_a_subdural_bleed_on_the_tentorium_lies_above_it(head: Head) -> None:
    from ct.phantom_head import tentorium_height

    z = 0.0
    bleed = Bleed("subdural", "tentorium", (25.0, 40.0, z), (30.0, 6.0, 0.0), 60.0, 0.0, "none", 1.2, (0, 0, 1))
    x, y = places(slice_at(head, [bleed], z).masks["subdural"])
    assert len(x) > 100
    above = 0.8 * (z - tentorium_height(x.astype(np.float32), y.astype(np.float32)))
    assert above.min() > -2 and above.max() < 8
    assert x.min() > -2


def test_a_mass_narrows_the_ventricle_beside_it_and_moves_the_midline() -> None:
    """Of many heads, since right and left differ in each."""
    narrowed = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        plain = replace(draw_head(rng, 0, 3.1, 0), ventricles=(1.6, 1.6), atrophy=0.2)
        pushed, bleeds = draw_bleeds(rng, plain, {"epidural": (10.0, 14.0)}, HOW, acute=True)
        side = 0 if bleeds[0].at[0] < 0 else 1
        narrowed.append(pushed.ventricles[side] / pushed.ventricles[1 - side])
        assert np.sign(pushed.shift[0]) == -np.sign(bleeds[0].at[0])
    assert max(narrowed) < 1 and np.mean(narrowed) < 0.9


def test_the_brain_under_a_bleed_at_the_skull_has_its_cortex(head: Head) -> None:
    """Grey matter follows the pushed surface: a ribbon of it lies where white matter was."""
    bleed = at_skull(head, "subdural", "convexity", 0.0, 30.0, (80.0, 14.0, 0.0))
    with_bleed, without = slice_at(head, [bleed], 30.0), slice_at(head, [], 30.0)
    x, _ = places(with_bleed.masks["subdural"][[SIDE // 2]])
    inner = int(x.min() / SPACING + SIDE / 2)
    ribbon = slice(inner - 7, inner - 3)  # 1.5 to 3.5 mm under the blood
    rows = slice(SIDE // 2 - 20, SIDE // 2 + 20)
    assert np.median(with_bleed.hu[rows, ribbon]) > np.median(without.hu[rows, ribbon]) + 2


@pytest.mark.parametrize("label", ["epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"])
def test_no_blood_is_brighter_than_blood_can_be(head: Head, label: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):
        changed, bleeds = draw_bleeds(rng, head, {label: (0.0, 20.0)}, HOW)
        painted = slice_at(changed, bleeds, bleeds[0].at[2])
        values = painted.hu[painted.masks[label]]
        assert not len(values) or np.percentile(values, 95) < 85


@pytest.mark.parametrize(("label", "of"), [("subdural", 0), ("epidural", 0), ("intraparenchymal", None)])
def test_sizes_are_log_normal_about_their_median(head: Head, label: str, of: int | None) -> None:
    rng = np.random.default_rng(1)
    sizes = [draw_bleeds(rng, head, {label: (-5.0, 60.0)}, HOW)[1][0].size for _ in range(300)]
    radii = [math.prod(size) ** (1 / 3) if of is None else size[of] for size in sizes]
    assert np.median(radii) == pytest.approx(getattr(HOW.radius_mm, label), rel=0.1)
    low, high = np.log(np.percentile(radii, (25, 75)))
    assert (high - low) / 1.349 == pytest.approx(HOW.radius_log_sd, rel=0.25)


def test_ages_come_at_their_shares_and_where_they_can() -> None:
    head, rng = draw_head(np.random.default_rng(5), 0, 3.1, 0), np.random.default_rng(2)
    found = {
        label: [draw_bleeds(rng, head, {label: (0.0, 30.0)}, HOW)[1][0] for _ in range(300)]
        for label in ("epidural", "intraparenchymal", "subdural")
    }
    acute = {name: np.mean([b.hu > 48 and b.mixture == "none" for b in of]) for name, of in found.items()}
    assert list(acute.values()) == pytest.approx([HOW.ages.acute] * 3, abs=0.08)
    assert not any(bleed.hu < 48 for bleed in found["epidural"])
    assert not any(bleed.hu < 36 for bleed in found["intraparenchymal"])
    old = [bleed.hu < 30 or bleed.mixture == "fluid level" for bleed in found["subdural"]]
    assert np.mean(old) == pytest.approx(HOW.ages.chronic, abs=0.05)
    assert all(b.hu > 48 for b in draw_bleeds(rng, head, {"subdural": (0.0, 30.0)}, HOW, acute=True)[1])
