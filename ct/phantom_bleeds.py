"""The five kinds of bleed: where they lie, how large and how dense they are, and their signed distances."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ct.phantom_head import (
    HORNS,
    Array,
    Dura,
    Head,
    Points,
    Walls,
    ellipsoid,
    noise,
    on_inner_table,
    tentorium_height,
    walls,
)
from ct.phantom_parameters import Bleeds

SUTURES = (-200.0, -24.0, 52.0, 200.0)  # mm; y of the coronal and the lambdoid suture, and none beyond
IVH_REACH = (-42.0, 26.0)  # mm; heights at which ventricles are


@dataclass(frozen=True)
class Bleed:
    """One bleed. Lengths in mm in the head frame, intensities in HU."""

    label: str
    place: str  # "tissue", "level", "cast", "sulci", "convexity", "falx", "tentorium", "lens"
    at: tuple[float, float, float]
    size: tuple[float, float, float]  # radii (tissue); reach and thickness (the others)
    hu: float
    other_hu: float  # of the second component, where there is one
    mixture: str  # "none", "swirl", "fluid level"
    edge: float
    inward: tuple[float, float, float] = (0.0, 0.0, 0.0)  # unit normal of the skull at `at`
    oedema: float = 0.0  # width of the rim
    fracture: bool = False


def draw_bleeds(
    rng: np.random.Generator,
    head: Head,
    heights: Mapping[str, tuple[float, float]],
    how: Bleeds,
    acute: bool = False,
) -> tuple[Head, list[Bleed]]:
    """A bleed of each label that has a range of heights (mm), its middle within it, and the head as they change it.

    All lie on one side but the epidural one. `acute`: none is older, whatever their shares say.
    """
    bleeds: list[Bleed] = []
    sides = rng.permutation([-1, 1])
    ages = how.ages.model_dump()
    for label, between in heights.items():
        draw = {
            "intraparenchymal": _tissue,
            "intraventricular": _ventricular,
            "subarachnoid": _sulci,
            "subdural": _subdural,
            "epidural": _epidural,
        }[label]
        radius = float(getattr(how.radius_mm, label) * np.exp(rng.normal(0, how.radius_log_sd)))
        bleed = draw(rng, head, int(sides[int(label == "epidural")]), between, radius)
        age = str(rng.choice(list(ages), p=np.array(list(ages.values())) / sum(ages.values())))
        bleeds.append(_aged(rng, bleed, "acute" if acute else age))
    for bleed in bleeds:
        if bleed.label == "intraventricular":
            wider = float(rng.uniform(1.25, 1.6))
            head = replace(head, ventricles=(head.ventricles[0] * wider, head.ventricles[1] * wider))
        elif bleed.place in ("tissue", "convexity", "lens"):
            thick = max(bleed.size) if bleed.place == "tissue" else bleed.size[1]
            much = float(min(10.0, thick * rng.uniform(0.1, 0.45)) * (1 - 0.6 * head.atrophy))
            head = replace(head, shift=(-float(np.sign(bleed.at[0])) * much, *bleed.at))
            squeeze = max(0.45, 1 - 0.06 * much)  # of the ventricle on that side
            right, left = head.ventricles
            head = replace(head, ventricles=(right, left * squeeze) if bleed.at[0] > 0 else (right * squeeze, left))
        if bleed.fracture:
            head = replace(head, swelling=(*bleed.at, float(rng.uniform(3, 9))))
    return head, bleeds


def _aged(rng: np.random.Generator, bleed: Bleed, age: str) -> Bleed:
    """Age decides the density; blood that mixes with CSF has its own."""
    if bleed.label in ("subarachnoid", "intraventricular") or age == "acute":
        return bleed
    if bleed.label == "epidural" or age == "mixed":
        return replace(bleed, other_hu=float(rng.uniform(35, 46)), mixture="swirl")
    if bleed.label == "intraparenchymal" or age == "subacute":
        return replace(bleed, hu=float(rng.uniform(38, 46)))
    if rng.random() < 1 / 3:
        return replace(bleed, hu=rng.uniform(48, 62), other_hu=rng.uniform(15, 32), mixture="fluid level")
    return replace(bleed, hu=float(rng.uniform(15, 28)))


def _between(rng: np.random.Generator, low: float, high: float, heights: tuple[float, float]) -> float:
    """A height within both ranges; within the slices' if they do not meet."""
    a, b = max(low, heights[0]), min(high, heights[1])
    return float(rng.uniform(a, b)) if a <= b else float(rng.uniform(*heights))


def _tissue(rng: np.random.Generator, head: Head, side: int, heights: tuple[float, float], radius: float) -> Bleed:
    radius = min(max(radius, 5.0), 24.0)  # 0.5 … 60 ml
    at = (side * 30.0, 0.0, 20.0)
    for _ in range(40):
        where = rng.random()
        if where < 0.5:
            x, y, low, high = rng.normal(25, 4), rng.normal(0, 10), -3, 20
        elif where < 0.85:
            x, y, low, high = rng.uniform(20, 58), rng.uniform(-62, 66), -5, 68
        else:
            x, y, low, high = rng.uniform(0, 36), rng.uniform(30, 62), -50, -26
        if max(low, heights[0]) > min(high, heights[1]):
            continue
        at = (float(side * x), float(y), _between(rng, low, high, heights))
        depth = walls(head, Points(*(np.array([v], np.float32) for v in at))).depth[0]
        if 0.7 * radius + 3 < depth:
            break
    stretch = np.exp(rng.normal(0, 0.2, 3))
    size = radius * stretch / np.prod(stretch) ** (1 / 3)
    return Bleed(
        "intraparenchymal",
        "tissue",
        at,
        (float(size[0]), float(size[1]), float(size[2])),
        hu=float(rng.uniform(52, 72)),
        other_hu=0,
        mixture="none",
        edge=float(rng.uniform(1, 2)),
        oedema=float(rng.uniform(2, 9)),
    )


def _ventricular(rng: np.random.Generator, head: Head, side: int, heights: tuple[float, float], radius: float) -> Bleed:
    level = heights[0] < 12 and heights[1] > 2 and rng.random() < 0.6
    ends = [end for a, b, _, _ in HORNS for end in (a, b)] + [(0, 3, 2), (0, 37, -33), (0, 37, -40)]
    near = [end for end in ends if heights[0] - 4 <= end[2] <= heights[1] + 4] or [HORNS[3][0]]
    x, y, z = near[int(rng.integers(len(near)))]
    at = (float(side * x), float(y), float(z)) if not level else (0.0, float(rng.uniform(38, 52)), 6.0)
    return Bleed(
        "intraventricular",
        "level" if level else "cast",
        at,
        (min(max(radius, 6.0), 70.0), 0, 0),
        hu=float(rng.uniform(48, 70)),
        other_hu=0,
        mixture="none",
        edge=1.2,
    )


def _sulci(rng: np.random.Generator, head: Head, side: int, heights: tuple[float, float], radius: float) -> Bleed:
    z = float(rng.uniform(*heights))
    if z < 8 and rng.random() < 0.65:
        at = (float(side * rng.uniform(0, 45)), float(rng.uniform(-20, 5)), min(z, 2.0))
    else:
        angle = rng.uniform(-1.1, 1.1)
        point, _ = on_inner_table(head, (side * float(np.cos(angle)), float(np.sin(angle)), 0), z)
        at = (float(point[0]) * 0.9, float(point[1]) * 0.9, z)
    return Bleed(
        "subarachnoid",
        "sulci",
        at,
        (min(max(radius, 8.0), 70.0), 0, 0),
        hu=float(rng.uniform(40, 62)),
        other_hu=0,
        mixture="none",
        edge=3,
    )


def _subdural(rng: np.random.Generator, head: Head, side: int, heights: tuple[float, float], radius: float) -> Bleed:
    thick = float(np.exp(rng.normal(np.log(5.5), 0.5)).clip(3, 20))
    reach = min(max(radius, 10.0), 75.0)
    place, z = "convexity", _between(rng, -15, 65, heights)
    if rng.random() < 0.2 and heights[1] > 20:
        place, z, thick = "falx", _between(rng, 15, 60, heights), min(thick, 7.0)
        point = np.array([0, rng.uniform(-50, 60), z])
        normal = np.array([-side, 0, 0])
    elif heights[0] < -2 and heights[1] > -14 and rng.random() < 0.15:
        place, thick = "tentorium", min(thick, 7.0)
        x, y = side * rng.uniform(20, 38), rng.uniform(20, 50)
        point = np.array([x, y, float(tentorium_height(np.array([x]), np.array([y]))[0])])
        normal = np.array([0, 0, 1])
    else:
        angle = rng.uniform(-1.0, 1.0)
        point, normal = on_inner_table(head, (side * float(np.cos(angle)), float(np.sin(angle)), 0), z)
    return Bleed(
        "subdural",
        place,
        (float(point[0]) or side * 0.1, float(point[1]), float(point[2])),
        (reach, thick, 0),
        hu=float(rng.uniform(50, 70)),
        other_hu=0,
        mixture="none",
        edge=1.3,
        inward=(float(normal[0]), float(normal[1]), float(normal[2])),
    )


def _epidural(rng: np.random.Generator, head: Head, side: int, heights: tuple[float, float], radius: float) -> Bleed:
    angle = rng.uniform(-0.45, 0.6) if rng.random() < 0.75 else rng.choice((-1, 1)) * rng.uniform(0.7, 1.2)
    point, normal = on_inner_table(
        head, (side * float(np.cos(angle)), float(np.sin(angle)), 0), _between(rng, -20, 58, heights)
    )
    reach = min(max(radius, 10.0), 40.0)
    return Bleed(
        "epidural",
        "lens",
        (float(point[0]), float(point[1]), float(point[2])),
        (reach, float(min(7 + 21 * rng.beta(1, 2), 0.75 * reach)), 0),
        hu=float(rng.uniform(55, 75)),
        other_hu=0,
        mixture="none",
        edge=1.1,
        inward=(float(normal[0]), float(normal[1]), float(normal[2])),
        fracture=bool(rng.random() < 0.6),
    )


class Around(NamedTuple):
    """What a bleed's shape follows, on the same points."""

    walls: Walls
    ventricles: Array  # distance into them
    dura: Dura
    rough: Array  # noise, standard deviation 1, features of 8 mm
    broad: Array  # and of 18 mm


def distance(bleed: Bleed, p: Points, around: Around) -> Array:
    """Distance into a bleed, mm; for "sulci" into the region whose CSF holds blood."""
    depth = around.walls.depth
    x, y, z = bleed.at
    reach, thick, _ = bleed.size
    if bleed.place == "tissue":
        lobed = ellipsoid(p, bleed.at, bleed.size) + (0.3 * around.rough + 0.3 * around.broad) * min(bleed.size)
        return np.minimum(lobed, depth - 1.5)
    if bleed.place == "level":
        return np.minimum(around.ventricles, p.y - y)
    if bleed.place == "cast":
        return np.minimum(around.ventricles, ellipsoid(p, bleed.at, (reach,) * 3) + 2 * around.rough)
    if bleed.place == "sulci":
        return ellipsoid(p, bleed.at, (reach,) * 3) + 6 * around.rough
    if bleed.place == "lens":  # a ball that meets the skull in a circle of radius `reach`, `thick` deep
        radius = (reach**2 + thick**2) / (2 * thick)
        centre = tuple(a + n * (thick - radius) for a, n in zip(bleed.at, bleed.inward, strict=True))
        front, back = SUTURES[np.searchsorted(SUTURES, y) - 1], SUTURES[np.searchsorted(SUTURES, y)]
        between = np.minimum(np.minimum(p.y - front, back - p.y), np.sign(x) * around.dura.sideways)
        ball = ellipsoid(p, centre, (radius,) * 3) + 0.5 * around.rough
        return np.minimum(np.minimum(ball, depth), between)  # the dura is fast at sutures
    away = np.sqrt((p.x - x) ** 2 + (p.y - y) ** 2 + (1.2 * (p.z - z)) ** 2) / reach
    layer = thick * (np.sqrt((1 - away**2).clip(0)) * (1 + 0.1 * around.rough)) - 3 * (away - 1).clip(0) - 0.3
    side = np.sign(x)
    beside = side * around.dura.sideways
    if bleed.place == "falx":
        return np.minimum(np.minimum(layer - beside, beside), around.dura.falx)
    if bleed.place == "tentorium":
        above = around.dura.above
        return np.minimum(np.minimum(layer - above, above), np.minimum(around.dura.tentorium, beside))
    return np.minimum(np.minimum(layer - depth, beside - 2), around.walls.floor)


def density(bleed: Bleed, p: Points, rough: Array, head: Head) -> Array:
    """HU of the blood itself at each point."""
    hu = np.full(p.x.shape, bleed.hu, dtype=np.float32) + 2.5 * noise(head, p, 0.7, 18) + 1.5 * rough
    if bleed.mixture == "swirl":
        part = (noise(head, p, 1.5, 5) * 1.5 + 0.5).clip(0, 1)
        return hu + part * (bleed.other_hu - bleed.hu)
    if bleed.mixture == "fluid level":  # the patient lies on the back: cells sink
        part = (0.5 - (p.y - bleed.at[1]) / 10).clip(0, 1)
        return hu + part * (bleed.other_hu - bleed.hu)
    return hu
