"""One slice of a phantom: its plane through the head, painted in Hounsfield units, and where blood can be seen.

Distances are computed on every fourth pixel and interpolated: they are smooth, the edges made of them are sharp. They
are computed on three planes within the slice's thickness, so that a slanting edge is blurred as a real one is.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ct import phantom_head as anatomy
from ct.labels import LABELS
from ct.phantom_bleeds import Around, Bleed, density, distance
from ct.phantom_head import Array, Head, Points, Walls

SIDE = 512
STEP = 4  # pixels between computed distances
AIR, FAT, MUSCLE, TABLE_BONE, DIPLOE = -1000.0, -95.0, 54.0, 1300.0, 430.0
NOISE_SIDE = 1024


@dataclass(frozen=True)
class Pose:
    """How the head lies in the scanner, and the slices in it; mm and radians, DICOM's patient directions."""

    spacing: float
    tilt: float  # of the gantry
    turn: tuple[float, float, float]  # of the head, besides: pitch, roll, yaw
    shift: tuple[float, float]  # of the head's middle from the image's middle: x, y
    table: float  # z of the head's origin
    lowest: float  # height of the first slice over the head's origin
    step: float
    holder: tuple[float, float, float, float]  # radius, thickness, HU, y of its middle

    def origin(self, number: int) -> tuple[float, float, float]:
        """ImagePositionPatient of a slice."""
        half = self.spacing * SIDE / 2
        x, y = -half - self.shift[0], -half * np.cos(self.tilt) - self.shift[1]
        return float(x), float(y), float(self.table + self.lowest + self.step * number + half * np.sin(self.tilt))

    def orientation(self) -> tuple[float, ...]:
        """ImageOrientationPatient: directions of a row and of a column."""
        return 1.0, 0.0, 0.0, 0.0, float(np.cos(self.tilt)), float(-np.sin(self.tilt))

    def points(self, number: int) -> Points:
        """Head coordinates of the computed points, 3 planes × rows × columns."""
        at = np.arange(SIDE // STEP + 1) * STEP * self.spacing
        row, column = np.array(self.orientation()).reshape(2, 3)
        normal = np.cross(row, column)
        start = np.array(self.origin(number)) - (0, 0, self.table)
        offsets = np.array([-0.5, 0, 0.5])[:, None, None] * self.step
        turned = _turns(self.tilt + self.turn[0], self.turn[1], self.turn[2])
        axes = [turned @ v for v in (start, row, column, normal)]
        return Points(
            *(
                (
                    axes[0][i] + at[None, None, :] * axes[1][i] + at[None, :, None] * axes[2][i] + offsets * axes[3][i]
                ).astype(np.float32)
                for i in range(3)
            )
        )


class Painted(NamedTuple):
    """A slice without noise: HU (512×512), what each label's blood adds to it, where that blood is the tissue."""

    hu: Array
    added: dict[str, Array]  # by label, HU
    masks: dict[str, npt.NDArray[np.bool_]]


def _turns(pitch: float, roll: float, yaw: float) -> npt.NDArray[np.float64]:
    (cp, cr, cy), (sp, sr, sy) = np.cos((pitch, roll, yaw)), np.sin((pitch, roll, yaw))
    tip = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    lean = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    turn = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(turn @ lean @ tip)


def _fine(coarse: Array) -> Array:
    """Linear interpolation to every pixel: h×w → 4(h-1)+1 × 4(w-1)+1."""
    for _ in range(2):
        out = np.empty((2 * coarse.shape[0] - 1, coarse.shape[1]), dtype=np.float32)
        out[::2] = coarse
        out[1::2] = 0.5 * (coarse[1:] + coarse[:-1])
        coarse = out
    for _ in range(2):
        out = np.empty((coarse.shape[0], 2 * coarse.shape[1] - 1), dtype=np.float32)
        out[:, ::2] = coarse
        out[:, 1::2] = 0.5 * (coarse[:, 1:] + coarse[:, :-1])
        coarse = out
    return coarse


def _ramp(q: Array) -> Array:
    """Share of tissue across an edge one unit wide."""
    return np.clip(q + np.float32(0.5), 0, 1)


def _edge(d: Array, width: float) -> Array:
    """A distance on three planes in units of its edge's width: in plane, and what the slant adds through the slice."""
    return d.mean(axis=0) / (width + np.abs(d[2] - d[0]))


def _share(d: Array, width: float) -> Array:
    return _ramp(_fine(_edge(d, width)))


def _blend(under: Array, share: Array, hu: Array | float) -> Array:
    """`hu` laid over `under` in place; returns what that added."""
    added = share * (hu - under)
    under += added
    return added


def paint(head: Head, bleeds: list[Bleed], pose: Pose, number: int) -> Painted:
    """Slice `number` of a head in HU, without noise."""
    everywhere = pose.points(number)
    near = _window(head, everywhere)
    hu = np.full((SIDE + 1, SIDE + 1), AIR, dtype=np.float32)
    _holder(hu, pose)
    names = {bleed.label for bleed in bleeds}
    added: dict[str, Array] = {name: np.zeros((SIDE + 1, SIDE + 1), dtype=np.float32) for name in names}
    masks = {name: np.zeros((SIDE + 1, SIDE + 1), dtype=np.bool_) for name in names}
    if near:
        _paint_head(hu, added, masks, head, bleeds, Points(*(v[:, near[0], near[1]] for v in everywhere)), near)
    cut = slice(0, SIDE)
    return Painted(
        hu[cut, cut], {name: a[cut, cut] for name, a in added.items()}, {name: m[cut, cut] for name, m in masks.items()}
    )


def _paint_head(
    hu: Array,
    added: dict[str, Array],
    masks: dict[str, npt.NDArray[np.bool_]],
    head: Head,
    bleeds: list[Bleed],
    p: Points,
    near: tuple[slice, slice],
) -> None:
    """The head into the part of the picture that its points cover."""
    here = tuple(slice(s.start * STEP, (s.stop - 1) * STEP + 1) for s in near)
    wall = anatomy.walls(head, p)
    part = hu[here]
    _outer(part, head, p, wall, bleeds)
    inside = _share(wall.depth, 0.7)
    if not (wall.depth > -1).any():
        return
    clear = inside > 0.97  # elsewhere bone in the slice's thickness outshines blood
    brain, blood, where = _brain(head, p, wall, bleeds)
    _blend(part, inside, brain)
    for name in added:
        added[name][here], masks[name][here] = np.where(clear, blood[name], 0), where[name] & clear


def _window(head: Head, everywhere: Points) -> tuple[slice, slice] | None:
    """Rows and columns of the computed points that hold the head, with a margin."""
    wall = anatomy.walls(head, Points(*(v[:, ::4, ::4] for v in everywhere)))
    found: npt.NDArray[np.bool_] = np.any(wall.vault + wall.skull + wall.scalp > -8, axis=0)
    if not found.any():
        return None
    bounds = []
    for axis in (1, 0):
        lines = np.flatnonzero(np.any(found, axis=axis))
        bounds.append(slice(max(0, 4 * (lines[0] - 1)), min(SIDE // STEP + 1, 4 * (lines[-1] + 1) + 1)))
    return bounds[0], bounds[1]


def _holder(hu: Array, pose: Pose) -> None:
    """The head rest: an arc below the head, partly outside the picture."""
    radius, thick, density_, middle = pose.holder
    at = np.arange(SIDE // STEP + 1, dtype=np.float32) * STEP * pose.spacing
    half = SIDE * pose.spacing / 2
    gap = np.hypot(at[None, :] - half, (at[:, None] - half - middle) * 0.95) - radius
    low = _ramp(_fine(np.broadcast_to((at[:, None] - half - middle - 20) / 2, gap.shape).astype(np.float32)))
    _blend(hu, _ramp((thick / 2 - np.abs(_fine(gap.astype(np.float32)))) / 0.7) * low, density_)


def _outer(hu: Array, head: Head, p: Points, wall: Walls, bleeds: list[Bleed]) -> None:
    """Skin, fat, muscle, skull, the face's cavities: all but what lies within the skull."""
    outside = wall.vault + wall.skull + wall.scalp  # distance inward from the skin
    texture = anatomy.noise(head, p, 1.0, 3)
    q = p._replace(x=np.abs(p.x))
    low = (-(p.z + 4 + 0.25 * np.abs(p.y)) / 8).clip(0, 1)
    muscle = (low + 0.35 * texture + (outside - wall.scalp) / 8 * low - 0.1).clip(0, 1)
    tissue = FAT + muscle * (MUSCLE - FAT)
    tissue = tissue + (2.2 - outside).clip(0, 1) * (20 - tissue)
    shell = np.minimum(-wall.depth, wall.depth + wall.skull)
    air = np.minimum(anatomy.ellipsoid(q, (9, -86 * head.length, -12), (11, 4, 13)), -wall.depth - 1)
    if p.z.min() < -10:  # the face and the bones of the base
        eye = anatomy.ellipsoid(q, (31, -66, -36), (12, 12, 12))
        socket = anatomy.ellipsoid(q, (30, -56, -36), (19, 26, 18))
        fat = tissue + (socket / 1.5 + 0.5).clip(0, 1) * (FAT + 20 - tissue)
        tissue = fat + (eye / 1.5 + 1.2).clip(0, 1) * (45 - fat)
        tissue = tissue + (eye / 1.5).clip(0, 1) * (12 - tissue)
        shell = np.maximum(shell, np.where(wall.vault > -2, 1.2 - np.abs(socket), -9))
        bridge = np.minimum(6 + 3 * texture, np.minimum(24 - q.x, np.minimum(-p.z - 24, wall.vault + 2)))
        shell = np.maximum(shell, np.where((p.y < 2) & (wall.floor < 2), np.minimum(bridge, -wall.depth), -9))
        nose = np.minimum(
            np.minimum(3 * texture + 1, 15 - q.x), np.minimum(np.minimum(-p.z - 25, -p.y - 4), outside - 9)
        )
        cells = np.minimum(5 * anatomy.noise(head, p, 0.5, 9) - 1, np.minimum(wall.petrous * 9 - 2, q.x - 38))
        cells = np.minimum(cells, np.minimum(wall.vault + wall.skull - 2, -p.z - 24))
        air = np.maximum(air, np.minimum(np.maximum(nose, cells), -wall.depth - 2))
    _blend(hu, _share(outside, 0.8), _fine(tissue[1]))
    thick = _fine(shell.mean(axis=0))
    share = _share(shell, 1.1)
    for bleed in bleeds:
        if bleed.fracture:
            share *= 1 - 0.85 * _fracture(bleed, p)
    bone = TABLE_BONE - (TABLE_BONE - DIPLOE) * ((thick - 1.0) / 1.3).clip(0, 1)
    _blend(hu, share, head.bone * bone)
    if (air > -3).any():
        _blend(hu, _share(air, 0.9), AIR + 40)


def _fracture(bleed: Bleed, p: Points) -> Array:
    """A dark line in the bone over a bleed."""
    gap = (p.y - bleed.at[1] + 0.3 * (p.z - bleed.at[2]))[1]
    near = np.sqrt(sum((v[1] - a) ** 2 for v, a in zip(p, bleed.at, strict=True)))
    return _ramp((0.5 - np.abs(_fine(gap))) / 0.6) * _ramp(_fine((22 - near) / 4))


def _brain(
    head: Head, p: Points, wall: Walls, bleeds: list[Bleed]
) -> tuple[Array, dict[str, Array], dict[str, npt.NDArray[np.bool_]]]:
    """What lies within the skull, as if it filled the picture."""
    moved = anatomy.pushed(head, p, wall.depth)
    rough = anatomy.noise(head, p, 1.3, 4)
    ventricle = anatomy.ventricles(head, moved)
    sideways, falx, tentorium = anatomy.dura(head, moved, wall.depth)
    around = Around(wall, ventricle, sideways, falx, rough)
    regions = [distance(bleed, p, around) for bleed in bleeds]

    centre = Points(*(v[1] for v in moved))
    depth = wall.depth[1]
    fold = anatomy.folds(head, centre)
    slope = np.hypot(*np.gradient(fold, np.float32(STEP * 0.47))) + 0.035
    fine_fold = np.abs(_fine(fold / slope))  # mm from the middle of the nearest sulcus
    lower = _ramp(anatomy.below_tentorium(centre) / 3)
    filled = sum(
        (_ramp(r[1] / 6) for r, b in zip(regions, bleeds, strict=True) if b.place == "sulci"), np.zeros_like(depth)
    )
    width = (0.25 + 1.15 * head.atrophy + 0.7 * np.minimum(filled, 1) + 0.25 * rough[1]).clip(0.1)
    width = width * (1.15 - depth / 17).clip(-0.6, 1.1) - 1.5 * lower
    width = _fine(width.astype(np.float32))
    rim = 0.2 + 1.4 * head.atrophy
    ribbon = _fine(np.minimum((22 - depth) / 5, 1.2 - 3 * lower).astype(np.float32)).clip(-1, 1)
    cortex = _ramp((3.0 + width - fine_fold) / 2.2) * _ramp(ribbon) * _ramp(0.4 + width)
    cortex = np.maximum(cortex, _share(3.4 + rim - wall.depth, 1.5))
    cortex = np.maximum(cortex, _share(anatomy.deep_grey(moved), 2.0))
    folia = (0.6 + 0.3 * anatomy.noise(head, centre, 0.6, 8)) * _ramp((centre.y - 22) / 8)
    cortex = np.maximum(cortex, _fine((folia * lower).astype(np.float32)))
    hu = head.white + head.grey * cortex + _fine((0.7 * anatomy.noise(head, centre, 3.0, 6)).astype(np.float32))

    x, y, z, radius = head.infarct
    if radius:
        _blend(hu, 0.9 * _share(anatomy.ellipsoid(moved, (x, y, z), (radius,) * 3) + 2.5 * rough, 4), 14.0)
    for region, bleed in zip(regions, bleeds, strict=True):
        if bleed.oedema:
            _blend(hu, 0.8 * _share(region + bleed.oedema, 5), 19.0)
    fissure = _ramp((0.5 + 1.3 * head.atrophy - np.abs(_fine(sideways[1]))) / 1.4) * _ramp(_fine(falx[1] / 4))
    outer_csf = np.maximum(_ramp((width - fine_fold) / 1.3) * _ramp(_fine(1.2 - 2 * lower)), 0.85 * fissure)
    outer_csf = np.maximum(outer_csf, _share(rim - wall.depth, 1.2))
    outer_csf = np.maximum(outer_csf, _share(anatomy.cisterns(head, moved, wall.depth), 1.4))
    in_ventricle = _share(ventricle, 0.8)
    _blend(hu, np.maximum(outer_csf, in_ventricle), head.csf)
    _blend(hu, 0.9 * _share(tentorium, 1.0), head.dural)
    _blend(hu, 0.85 * _ramp((0.7 - np.abs(_fine(sideways[1]))) / 1.2) * _ramp(_fine(falx[1] / 3)), head.dural)
    _blend(hu, _share(anatomy.vessels(head, moved, wall.depth), 1.0), head.blood)
    x, y, z, radius, tumour = head.meningioma
    if radius:
        ball = anatomy.ellipsoid(p, (x, y, z), (radius,) * 3) + 0.8 * rough
        _blend(hu, _share(np.minimum(ball, wall.depth), 1.3), tumour)
    for bx, by, bz, r, calcium in head.calcified:
        ball = anatomy.ellipsoid(moved, (bx, by, bz), (r,) * 3)
        if (ball > -4).any():
            _blend(hu, _share(ball + 0.35 * r * rough, 1.5), calcium)

    added: dict[str, Array] = {}
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for region, bleed in zip(regions, bleeds, strict=True):
        share = _share(region, bleed.edge)
        if bleed.place == "sulci":
            share *= outer_csf * (1 - in_ventricle)
        elif bleed.label == "intraventricular":
            share *= in_ventricle
        blood = _fine(density(bleed, Points(*(v[1] for v in p)), rough[1], head))
        added[bleed.label] = _blend(hu, share, blood)
        masks[bleed.label] = share > 0.5
    hu += _fine(anatomy.artefacts(head, Points(*(v[1] for v in p)), depth))
    return hu, added, masks


@lru_cache(maxsize=1)
def _noise_field() -> Array:
    """White noise blurred by 0.75 pixels, standard deviation 1, periodic: the correlation measured on real slices."""
    from scipy.ndimage import gaussian_filter

    white = np.random.default_rng(20190902).standard_normal((NOISE_SIDE, NOISE_SIDE)).astype(np.float32)
    field = gaussian_filter(white, 0.75, mode="wrap")
    return np.asarray(field / field.std(), dtype=np.float32)


def add_noise(hu: Array, sd: float, rng: np.random.Generator) -> Array:
    """The slice with scanner noise of standard deviation `sd` HU: a piece of a large field, shifted and mirrored."""
    top, left = rng.integers(0, NOISE_SIDE, 2)
    field = np.roll(_noise_field(), (-top, -left), (0, 1))[:SIDE, :SIDE]
    if rng.random() < 0.5:
        field = field.T
    return hu + np.float32(sd * rng.choice((-1, 1))) * field[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]


@lru_cache(maxsize=8)
def _averaging(side: int) -> Array:
    """side×512: the mean over each of `side` equal intervals of a row of pixels."""
    edges = np.arange(side + 1) * SIDE / side
    pixel = np.arange(SIDE)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (overlap.clip(0) * side / SIDE).astype(np.float32)


def averaged(pixels: Array, side: int) -> Array:
    """512×512 → side×side, each the mean over its area."""
    return np.asarray(_averaging(side) @ pixels @ _averaging(side).T)


def visible(painted: Painted, label: str, model_side: int, noise: float) -> bool:
    """Whether a label's blood can be seen: at least 12 pixels of 512², and at least 4 at the model's size that it
    changes by 1.5 × the noise. The noise of single pixels is taken: what averaging leaves of it is joined by anatomy.
    """
    if label not in painted.masks or np.count_nonzero(painted.masks[label]) < 12:
        return False
    return int(np.count_nonzero(np.abs(averaged(painted.added[label], model_side)) >= 1.5 * noise)) >= 4


def labels_of(painted: Painted, model_side: int, noise: float) -> tuple[int, ...]:
    """The six labels of a slice in the order of LABELS."""
    found = [int(visible(painted, label, model_side, noise)) for label in LABELS[:-1]]
    return (*found, max(found))
