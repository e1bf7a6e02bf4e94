"""The phantom's head: where skull, brain, ventricles and what looks like a bleed lie, as signed distances.

Head frame in mm, DICOM's directions: x to the patient's left, y to the back, z up; z = 0 at the anterior commissure.
Every function takes coordinates of any one shape and returns float32 of that shape; a distance is positive inside.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # float32
LATTICE = 64  # voxels a side of the noise block, which repeats
VOXEL = 4.0  # mm
NOISE_TEXTURES = 5


class Points(NamedTuple):
    """Coordinates in the head frame, mm."""

    x: Array
    y: Array
    z: Array


@dataclass(frozen=True)
class Head:
    """One patient's anatomy. Lengths in mm, intensities in HU."""

    width: float  # factors on the mean inner skull …
    length: float
    height: float
    square: float  # exponent of its superellipsoid: 2 is an ellipsoid
    taper: float  # how much wider it is behind than in front
    skew: float  # one side lies further back
    skull: float  # mean thickness
    bone: float  # factor on its HU
    scalp: float
    swelling: tuple[float, ...]  # of the scalp: x, y, z of its middle, thickness
    atrophy: float  # 0 … 1: widens sulci and rim
    ventricles: tuple[float, float]  # factor on the radius, right and left
    white: float
    grey: float  # above white
    csf: float
    dural: float  # falx, tentorium
    blood: float  # in sinuses and arteries
    sinuses: float  # factor on the radius of the large veins
    falx_bend: float
    cupping: float
    noise: float
    blur: float  # standard deviation of the scanner's blur in the plane
    kernel: int  # which of the scanner's noise textures
    noise_at: tuple[float, float, float]  # where this head lies in the noise block
    calcified: tuple[tuple[float, ...], ...]  # balls: x, y, z, radius, HU
    infarct: tuple[float, ...]  # old: x, y, z, radius; radius 0: none
    meningioma: tuple[float, ...]  # a benign tumour at the skull or the falx: x, y, z, radius, HU
    streaks: tuple[float, ...]  # of motion: HU, direction, width, y of the band's middle, z of its middle
    shift: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # midline shift to the left, and the middle of what pushes


def draw_head(rng: np.random.Generator, mimic_share: float, noise: float, cupping: float) -> Head:
    """A random patient; `mimic_share` is the chance of each thing that looks like a bleed, at most."""
    atrophy = float(rng.beta(1.4, 1.8))
    wide = 1 + 0.9 * atrophy * rng.random()
    side = rng.choice((-1, 1))

    def has(share: float) -> bool:
        return bool(rng.random() < share * mimic_share)

    calcified: list[tuple[float, ...]] = []
    for sign in (-1, 1):
        if has(0.55):
            at = sign * rng.normal(22 * wide**0.3, 1.5), rng.normal(34, 2), rng.normal(9, 3)
            calcified.append((*at, rng.uniform(1.2, 4), rng.uniform(80, 260)))
    if has(0.6):
        calcified.append(
            (rng.normal(0, 0.7), rng.normal(23, 2), rng.normal(3, 2), rng.uniform(1.5, 3), rng.uniform(80, 400))
        )
    if has(0.12):
        height = rng.normal(3, 3)
        for sign in (-1, 1):
            at = sign * rng.normal(21, 2), rng.normal(-4, 4), height + rng.normal(0, 2)
            calcified.append((*at, rng.uniform(2.5, 5), rng.uniform(60, 150)))
    if has(0.25):
        calcified.append((0.0, rng.uniform(-60, -30), rng.uniform(25, 55), rng.uniform(2, 4), rng.uniform(100, 350)))
    infarct = (0.0, 0.0, 0.0, 0.0)
    if has(0.25):
        infarct = (side * rng.uniform(20, 50), rng.uniform(-40, 50), rng.uniform(-10, 50), rng.uniform(6, 16))
    contrast = float(rng.uniform(0.4, 1)) if has(0.2) else 0.0  # medium still in the blood of an earlier scan
    meningioma = (0.0, 0.0, 0.0, 0.0, 0.0)
    if has(0.3):
        angle, out = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 0.95) if rng.random() < 0.7 else 0.1
        at = 66 * out * np.cos(angle), 82 * out * np.sin(angle), rng.uniform(-20, 55)
        meningioma = (*at, rng.uniform(6, 15), rng.uniform(45, 60))
    swelling = (0.0, 0.0, 0.0, 0.0)
    if has(0.3):
        swelling = (side * rng.uniform(40, 75), rng.uniform(-70, 70), rng.uniform(0, 60), rng.uniform(3, 8))
    streaks = (0.0, 0.0, 1.0, 0.0, 0.0)
    if has(0.35):
        streaks = (
            rng.uniform(3, 10),
            rng.normal(0, 0.5),
            rng.uniform(16, 45),
            rng.uniform(-60, 60),
            rng.uniform(-45, 70),
        )
    x, y, z = rng.uniform(0, LATTICE * VOXEL, 3)
    return Head(
        width=float(np.clip(rng.normal(1, 0.05), 0.88, 1.12)),
        length=float(np.clip(rng.normal(1, 0.055), 0.86, 1.12)),
        height=float(np.clip(rng.normal(1, 0.035), 0.91, 1.09)),
        square=float(rng.uniform(1.95, 2.3)),
        taper=float(rng.uniform(0.06, 0.17)),
        skew=float(rng.normal(0, 0.035)),
        skull=float(rng.uniform(3.8, 8.0)),
        bone=float(rng.uniform(0.8, 1.3)),
        scalp=float(rng.uniform(3, 7)),
        swelling=tuple(float(v) for v in swelling),
        atrophy=atrophy,
        ventricles=(float(wide * rng.uniform(0.9, 1.1)), float(wide * rng.uniform(0.9, 1.1))),
        white=float(26.5 + np.clip(rng.normal(0, 2.4), -5, 5) + 3 * contrast),  # and the scanner's calibration
        grey=float(rng.uniform(6.5, 11) + 6 * contrast),
        csf=float(rng.uniform(1.5, 7)),
        dural=float(rng.uniform(38, 55) + 20 * contrast),
        blood=float(rng.uniform(45, 65) + 30 * contrast),
        sinuses=float(rng.uniform(0.8, 1.7)),
        falx_bend=float(rng.normal(0, 1.2)),
        cupping=float(cupping * rng.uniform(0.15, 1)),
        noise=float(noise * np.exp(rng.normal(0, 0.2)).clip(0.7, 1.4)),
        blur=float(rng.uniform(0.4, 0.7)),
        kernel=int(rng.integers(NOISE_TEXTURES)),
        noise_at=(float(x), float(y), float(z)),
        calcified=tuple(tuple(float(v) for v in ball) for ball in calcified),
        infarct=tuple(float(v) for v in infarct),
        meningioma=tuple(float(v) for v in meningioma),
        streaks=tuple(float(v) for v in streaks),
    )


@lru_cache(maxsize=1)
def _noise_block() -> Array:
    """A periodic block of smooth noise, standard deviation 1, correlated over about 6 mm. The same in every process."""
    from scipy.ndimage import gaussian_filter

    white = np.random.default_rng(20190901).standard_normal((LATTICE,) * 3).astype(np.float32)
    smooth = gaussian_filter(white, 1.25, mode="wrap")
    return np.asarray(smooth / smooth.std(), dtype=np.float32)


def noise(head: Head, p: Points, scale: float, lane: int = 0) -> Array:
    """Smooth noise of this head, standard deviation about 1; features are 6 mm · `scale`, lanes are independent."""
    from scipy.ndimage import map_coordinates

    at = [(v / scale + o + 37.0 * lane) / VOXEL for v, o in zip(p, head.noise_at, strict=True)]
    return np.asarray(map_coordinates(_noise_block(), at, order=1, mode="grid-wrap"), dtype=np.float32)


def folds(head: Head, p: Points) -> Array:
    """Noise whose zeros are the sulci: stretched towards the middle of the head, as these run inward."""
    r = np.sqrt(p.x**2 + p.y**2 + (p.z - 8) ** 2) + 4
    stretch = (66 / r) ** 0.85
    return noise(head, Points(p.x * stretch, p.y * stretch, (p.z - 8) * stretch), 0.9)


def _sigmoid(t: Array) -> Array:
    return 1 / (1 + np.exp(-t.clip(-30, 30)))


def _vault(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Distance inward from the inner table of the vault: a superellipsoid, wider behind than in front."""
    power = head.square
    x = x + head.skew * y
    radii = (
        (69 * head.width) * (1 + head.taper * np.sin((y / 83).clip(-1.2, 1.2) * 1.9)),
        np.float32(83 * head.length),
        np.where(z > 0, np.float32(78 * head.height), np.float32(66 * head.height)),
    )
    shares = [np.abs(v) / r for v, r in zip((x, y, z), radii, strict=True)]
    steep = [t ** (power - 1) for t in shares]
    rho = (sum((t * s for t, s in zip(shares, steep, strict=True)), np.float32(1e-6))) ** (1 / power)
    square = sum(((s / r) ** 2 for s, r in zip(steep, radii, strict=True)), np.float32(1e-9))
    slope = np.sqrt(square) * rho ** (1 - power)
    return ((1 - rho) / slope.clip(0.004)).astype(np.float32)


def base_height(head: Head, x: Array, y: Array) -> tuple[Array, Array]:
    """Height of the skull base's inner side under each point, and how much it is petrous bone (0 … 1)."""
    side = np.abs(x)
    # Right and left differ; the same through a slice.
    across, back = (x, y) if x.ndim < 3 else (x[1], y[1])
    rough = noise(head, Points(across, back, np.zeros_like(across)), 1.6, 12)
    front = _sigmoid((-22 - 0.2 * side - y) / 3)
    petrous_at = -1 + 0.5 * side
    back = _sigmoid((y - petrous_at) / 3)
    ridge = np.exp(-(((y - petrous_at) / (5 + 0.06 * side)) ** 2)) * _sigmoid((side - 11) / 2)
    middle = -46 + (22 + 5 * rough) * np.exp(-(((x - 2 * rough) / 9) ** 2))  # sella and clivus
    hollow = -64 + 0.010 * (side**2 + (y - 38) ** 2)
    roofs = -28 + 9 * np.exp(-(((side - 28) / 15) ** 2) - ((y + 50) / 20) ** 2) - 0.10 * (y + 45) + 3.5 * rough
    return roofs * front + hollow * back + (1 - front - back).clip(0) * middle + 20 * ridge, ridge


class Walls(NamedTuple):
    """The head's shells, as distances."""

    depth: Array  # inward from the inner table, the base included
    vault: Array  # inward from the vault's inner table; below z = 0 the head's wall goes straight down
    skull: Array  # thickness of bone here
    scalp: Array
    petrous: Array
    floor: Array  # height above the base


def walls(head: Head, p: Points) -> Walls:
    """Skull and scalp at each point."""
    height, petrous = base_height(head, p.x, p.y)
    floor = p.z - height
    middle = p if p.x.ndim < 3 else Points(*(v[1] for v in p))  # shape and thickness are the same through a slice
    x, y, z = np.abs(middle.x), middle.y, middle.z
    dents = 1.6 * noise(head, middle, 6.5, 11)
    dents = dents - 4 * np.exp(-(((x - 55) / 16) ** 2) - ((y + 42) / 14) ** 2) * _sigmoid((24 - z) / 8)  # pterion
    dents = dents + 3 * np.exp(-(((x - 48) / 16) ** 2) - ((y - 28) / 18) ** 2 - ((z - 40) / 20) ** 2)  # parietal
    vault = _vault(head, p.x, p.y, np.where(p.z > 0, p.z, 0.45 * p.z)) + dents
    crest = 4 * np.exp(-((x / 4) ** 2)) * _sigmoid((y - 30) / 5) * _sigmoid((18 - z) / 4)  # of the occiput, inward
    inner = np.minimum(_vault(head, p.x, p.y, p.z) + dents - crest, 0.75 * floor)
    bumps = noise(head, middle, 4.0, 1)
    thick = head.skull * (1 + 0.22 * bumps + 0.25 * np.abs(p.y / 83) ** 3 - 0.2 * _sigmoid((-p.z - 5) / 8))
    thick = np.where((p.y < -15) & (floor < vault), 0.5 * thick, thick)  # the roofs of the orbits are thin
    skull = thick.clip(2.2, 12) + 9 * petrous * (p.z < -20)
    mx, my, mz, extra = head.swelling
    swollen = extra * np.exp(-((p.x - mx) ** 2 + (p.y - my) ** 2 + (p.z - mz) ** 2) / (2 * 18.0**2))
    scalp = head.scalp * (1 + 0.15 * noise(head, middle, 6.0, 2)) + swollen
    return Walls(inner, vault, skull, scalp, petrous, floor)


def pushed(head: Head, p: Points, depth: Array) -> Points:
    """The coordinates of the brain that mass effect has moved here: the midline bends away from what pushes."""
    much, _, my, mz = head.shift
    if not much:
        return p
    near = np.exp(-((p.y - my) ** 2 / (2 * 45.0**2) + (p.z - mz) ** 2 / (2 * 30.0**2)))
    return p._replace(x=p.x - much * near * (depth / 30).clip(0, 1))


def _capsule(p: Points, a: tuple[float, float, float], b: tuple[float, float, float], ra: float, rb: float) -> Array:
    """Distance into a rod from a to b whose radius goes from ra to rb."""
    ax, ay, az = a
    dx, dy, dz = b[0] - ax, b[1] - ay, b[2] - az
    along = (((p.x - ax) * dx + (p.y - ay) * dy + (p.z - az) * dz) / (dx * dx + dy * dy + dz * dz)).clip(0, 1)
    gap = np.sqrt((p.x - ax - along * dx) ** 2 + (p.y - ay - along * dy) ** 2 + (p.z - az - along * dz) ** 2)
    return (ra + along * (rb - ra) - gap).astype(np.float32)


def ellipsoid(p: Points, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Distance into an axis-parallel ellipsoid; exact at its surface for a ball."""
    rho = np.sqrt(sum(((v - c) / r) ** 2 for v, c, r in zip(p, centre, radii, strict=True)))
    return ((1 - rho) * min(radii)).astype(np.float32)


# Right and left alike: ends and radii of the rods that make the lateral ventricle, front to back.
HORNS = (
    ((5, -12, 12), (12, -36, 10), 3.2, 3.6),
    ((6, -14, 16), (13, 20, 21), 3.6, 4.0),
    ((13, 20, 21), (25, 34, 9), 4.0, 5.2),
    ((25, 34, 9), (23, 56, 6), 4.6, 2.4),
    ((25, 34, 7), (32, 2, -18), 2.6, 1.6),
)


def ventricles(head: Head, p: Points) -> Array:
    """Distance into the ventricles: two lateral, third, fourth."""
    inside = np.full(p.x.shape, -99, dtype=np.float32)
    for sign, factor in zip((-1, 1), head.ventricles, strict=True):
        spread = 1 + 0.25 * (factor - 1)
        for (ax, ay, az), (bx, by, bz), ra, rb in HORNS:
            a, b = (sign * ax * spread, ay, az), (sign * bx * spread, by, bz)
            np.maximum(inside, _capsule(p, a, b, ra * factor, rb * factor), out=inside)
    wide = sum(head.ventricles) / 2
    third = ellipsoid(p, (0, 3, 2), (1.9 * wide, 13, 10))
    fourth = ellipsoid(p, (0, 37, -33), (7 * wide**0.5, 4 * wide**0.5, 12))
    return np.maximum(inside, np.maximum(third, fourth))


def deep_grey(p: Points) -> Array:
    """Distance into caudate head, lentiform nucleus or thalamus, either side."""
    q = p._replace(x=np.abs(p.x))
    return np.maximum(
        np.maximum(ellipsoid(q, (14, -23, 11), (5, 9, 11)), ellipsoid(q, (25, -5, 5), (7, 16, 11))),
        ellipsoid(q, (11, 14, 8), (8.5, 14, 9)),
    )


def cisterns(head: Head, p: Points, depth: Array) -> Array:
    """Distance into the basal cisterns, the ring round the midbrain, or the Sylvian fissures."""
    wide = 1 + 0.8 * head.atrophy
    side = np.abs(p.x)
    star = np.hypot(p.x, p.y + 10)
    angle = np.arctan2(p.x, p.y + 10)
    basal = np.minimum((10 + 3 * np.cos(5 * angle)) * wide**0.5 - star, 6 - np.abs(p.z + 22))
    wobble = noise(head, p, 1.6, 7)
    ring = 0.7 * wide + 0.7 * wobble - np.abs(np.hypot(p.x / 1.2, p.y - 12) - 16.5 - 1.5 * wobble)
    ring = np.minimum(ring, np.minimum(9 - np.abs(p.z + 14), p.y - 3))
    quad = ellipsoid(p, (0, 30, -6), (9 * wide, 4, 8))
    stem_y = -12 + 0.25 * (side - 36) - 0.35 * (p.z + 5) + 2 * np.sin(side / 6)
    in_reach = np.minimum(side - 34, 18 - np.abs(p.z + 2))
    stem = np.minimum((1.0 + 0.03 * (side - 34)) * wide - np.abs(p.y - stem_y), in_reach)
    insula = np.minimum(
        0.9 * wide - np.abs(side - 38 + 0.012 * (p.y + 4) ** 2), np.minimum(17 - np.abs(p.y + 4), 16 - np.abs(p.z - 2))
    )
    cerebellar = np.minimum(1.4 * wide - np.abs(depth - 1.0), -38 - p.z)
    found = np.maximum(np.maximum(basal, ring), np.maximum(quad, np.maximum(stem, insula)))
    return np.maximum(found, cerebellar).astype(np.float32)


class Dura(NamedTuple):
    """The folds of the dura, as distances."""

    sideways: Array  # from the falx, to the left; signed
    falx: Array  # inside the falx's extent
    above: Array  # from the tentorium, upwards; signed
    tentorium: Array  # inside the tentorium's extent


def dura(head: Head, p: Points, depth: Array) -> Dura:
    """Falx and tentorium: surfaces, and how far they reach."""
    sideways = p.x - head.falx_bend * np.sin(p.y / 40)
    reach = np.where(p.y < 0, 30.0, 44.0) + 0.35 * (p.z - 10).clip(0, 60)
    extent = np.minimum(np.minimum(reach - depth, p.z + 16), depth + 2)
    hole = np.hypot(p.x / 20, (p.y - 12) / 24) - 1
    tent = np.minimum(np.minimum(20 * hole, p.y - 4), depth + 2)
    return Dura(*(v.astype(np.float32) for v in (sideways, extent, 0.8 * (p.z - tentorium_height(p.x, p.y)), tent)))


def tentorium_height(x: Array, y: Array) -> Array:
    """Height of the tentorium over each point: a ridge that falls to both sides and to the back."""
    return np.asarray(12 - 0.62 * (np.sqrt(x**2 + 16) - 4) - 0.55 * (y - 34).clip(0), dtype=np.float32)


def below_tentorium(p: Points) -> Array:
    """Distance below the tentorium: cerebellum and brain stem."""
    return np.minimum(tentorium_height(p.x, p.y) - p.z, p.y + 4 + 0.2 * (p.z + 20).clip(-40, 0)).astype(np.float32)


def vessels(head: Head, p: Points, depth: Array) -> Array:
    """Distance into the large venous sinuses and the arteries of the base."""
    q = p._replace(x=np.abs(p.x))
    wide = head.sinuses
    sagittal = np.minimum(
        wide * (3.2 + 0.8 * _sigmoid(p.y / 10)) - np.hypot(p.x, (depth - 2.5) * 0.9), np.maximum(p.y + 20, p.z - 30)
    )
    transverse = np.minimum(3.6 * wide - np.hypot(depth - 2, (p.z + 22 + 0.1 * q.x) * 0.7), p.y - 35)
    straight = _capsule(p, (0, 36, 11), (0, 72, -12), 1.8 * wide, 2.2 * wide)
    middle = _capsule(q, (4, -10, -21), (26, -13, -18), 1.3, 1.1)
    basilar = _capsule(p, (0, 2, -44), (0, -3, -20), 1.7, 1.7)
    found = np.maximum(np.maximum(sagittal, transverse), np.maximum(straight, np.maximum(middle, basilar)))
    return found.astype(np.float32)


def artefacts(head: Head, p: Points, depth: Array) -> Array:
    """HU that the scan adds to brain: hardened rays along bone, the dark bar between the petrous bones, motion."""
    found = head.cupping * np.exp(-depth.clip(0) / 9)
    found = found - 11 * np.exp(-(((p.y - 14) / 7) ** 2) - ((p.z + 36) / 8) ** 2) * (np.abs(p.x) < 40)
    between = _sigmoid(-(p.z + 26) / 3)  # streaks between thick bones at the base
    rays = noise(head, Points(p.x / 6, p.y, p.z), 0.7, 10)
    found = found + 0.7 * head.cupping * between * rays
    much, direction, width, middle, height = head.streaks
    if much:
        across = p.y * np.cos(direction) + p.x * np.sin(direction)
        along = p.x * np.cos(direction) - p.y * np.sin(direction)
        band = np.exp(-(((across - middle) / 35) ** 2) - ((p.z - height) / 14) ** 2)
        found = found + much * band * noise(head, Points(along / 25, across, p.z / 6), width / 40, 13)
    return np.asarray(found)


def on_inner_table(
    head: Head, direction: tuple[float, float, float], z: float
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The point of the inner table at height z in a sideways direction, and the inward unit normal there."""
    r = np.linspace(5, 110, 211, dtype=np.float32)
    norm = float(np.hypot(direction[0], direction[1]))
    p = Points(r * np.float32(direction[0] / norm), r * np.float32(direction[1] / norm), np.full_like(r, z))
    depth = walls(head, p).depth
    positive = np.flatnonzero(depth > 0)
    at = int(positive[-1]) if len(positive) else 0
    point = np.array([p.x[at], p.y[at], z])
    step = np.float32(1.5)
    around = point[:, None] + step * np.hstack([np.eye(3), -np.eye(3)])
    near = _vault(head, *(around[i].astype(np.float32) for i in range(3)))
    normal = near[:3] - near[3:]
    return point, normal / max(float(np.linalg.norm(normal)), 1e-6)
