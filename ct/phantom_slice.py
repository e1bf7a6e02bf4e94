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
from ct.phantom_grid import STEP, blend, fine, ramp, share
from ct.phantom_head import NOISE_TEXTURES, Array, Head, Points, Walls
from ct.phantom_outer import AIR, paint_outer

SIDE = 512
NOISE_SIDE = 1024
AIR_NOISE = 7


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
        _paint_head(
            hu, added, masks, head, bleeds, Points(*(v[:, near[0], near[1]] for v in everywhere)), near, pose.spacing
        )
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
    spacing: float,
) -> None:
    """The head into the part of the picture that its points cover."""
    here = tuple(slice(s.start * STEP, (s.stop - 1) * STEP + 1) for s in near)
    wall = anatomy.walls(head, p)
    part = hu[here]
    paint_outer(part, head, p, wall, bleeds)
    if (wall.depth > -1).any():
        inside = share(wall.depth, 0.7)
        # Elsewhere bone, through the slice's thickness or the scanner's blur, outshines blood.
        clear = share(wall.depth - 2 * head.blur, 0.7) > 0.97
        brain, blood, where = _brain(head, p, wall, bleeds)
        blend(part, inside, brain)
        for name in added:
            added[name][here], masks[name][here] = np.where(clear, blood[name], 0), where[name] & clear
    _blur(part, head.blur / spacing)


def _blur(part: Array, sd: float) -> None:
    """Blur in place, `sd` in pixels."""
    from scipy.ndimage import gaussian_filter

    gaussian_filter(part, sd, output=part, mode="nearest", truncate=2.5)


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
    low = ramp(fine(np.broadcast_to((at[:, None] - half - middle - 20) / 2, gap.shape).astype(np.float32)))
    blend(hu, ramp((thick / 2 - np.abs(fine(gap.astype(np.float32)))) / 0.7) * low, density_)


def _brain(
    head: Head, p: Points, wall: Walls, bleeds: list[Bleed]
) -> tuple[Array, dict[str, Array], dict[str, npt.NDArray[np.bool_]]]:
    """What lies within the skull, as if it filled the picture."""
    moved = anatomy.pushed(head, p, wall.depth)
    rough = anatomy.noise(head, p, 1.3, 4)
    broad = np.broadcast_to(anatomy.noise(head, Points(*(v[1] for v in p)), 3.0, 15), rough.shape)
    ventricle = anatomy.ventricles(head, moved)
    dura = anatomy.dura(head, moved, wall.depth)
    around = Around(wall, ventricle, dura, rough, broad)
    regions = [distance(bleed, p, around) for bleed in bleeds]
    surface, pressed = wall.depth, np.zeros_like(wall.depth[1])  # the brain's own surface, and where it is pressed
    for region, bleed in zip(regions, bleeds, strict=True):
        if bleed.place in ("convexity", "lens"):
            surface = np.minimum(surface, -region)
        if bleed.place in ("convexity", "lens", "tissue"):
            pressed = np.maximum(pressed, ramp(region[1] / 25 + 0.5))

    centre = Points(*(v[1] for v in moved))
    depth = surface[1]
    fold = anatomy.folds(head, centre)
    slope = np.hypot(*np.gradient(fold, np.float32(STEP * 0.47))) + 0.035
    fine_fold = np.abs(fine(fold / slope))  # mm from the middle of the nearest sulcus
    lower = ramp(anatomy.below_tentorium(centre) / 3)
    filled = sum(
        (ramp(r[1] / 6) for r, b in zip(regions, bleeds, strict=True) if b.place == "sulci"), np.zeros_like(depth)
    )
    high = ramp((centre.z - 45) / 30)  # sulci are widest under the vertex
    width = 0.7 + (1.0 + 0.6 * high) * head.atrophy + 0.7 * np.minimum(filled, 1) + 0.4 * rough[1] + 0.4 * broad[1]
    width = (width * (1 - 0.8 * pressed)).clip(0.1)
    width = width * (1.15 - depth / 17).clip(-0.6, 1.1) - 1.5 * lower
    width = fine(width.astype(np.float32))
    rim = 0.2 + 1.4 * head.atrophy
    ribbon = fine(np.minimum((22 - depth) / 5, 1.2 - 3 * lower).astype(np.float32)).clip(-1, 1)
    cortex = ramp((3.2 + width - fine_fold) / 3.5) * ramp(ribbon) * ramp(0.4 + width)
    cortex = np.maximum(cortex, share(3.4 + rim - surface, 2.0))
    cortex = np.maximum(cortex, share(anatomy.deep_grey(moved), 2.0))
    folia = (0.6 + 0.3 * anatomy.noise(head, centre, 0.6, 8)) * ramp((centre.y - 22) / 8)
    cortex = np.maximum(cortex, fine((folia * lower).astype(np.float32)))
    hu = (
        head.white
        + head.grey * cortex
        + fine(
            (0.7 * anatomy.noise(head, centre, 3.0, 6) + 1.8 * anatomy.noise(head, centre, 6.0, 19)).astype(np.float32)
        )
    )

    x, y, z, radius = head.infarct
    if radius:
        blend(hu, 0.9 * share(anatomy.ellipsoid(moved, (x, y, z), (radius,) * 3) + 2.5 * rough, 4), 14.0)
    for region, bleed in zip(regions, bleeds, strict=True):
        if bleed.oedema:
            blend(hu, 0.8 * share(region + bleed.oedema, 5), 19.0)
    front = ramp((-30 - centre.y) / 20)
    fissure = ramp((fine(0.4 + 0.7 * front) + 1.3 * head.atrophy - np.abs(fine(dura.sideways[1]))) / 1.4) * ramp(
        fine(dura.falx[1] / 4)
    )
    outer_csf = np.maximum(ramp((width - fine_fold) / 1.3) * ramp(fine(1.2 - 2 * lower)), 0.85 * fissure)
    outer_csf = np.maximum(outer_csf, share(rim - wall.depth, 1.2))
    outer_csf = np.maximum(outer_csf, share(anatomy.cisterns(head, moved, wall.depth), 1.4))
    in_ventricle = share(ventricle, 0.8)
    blend(hu, np.maximum(outer_csf, in_ventricle), head.csf)
    blend(hu, 0.9 * share(np.minimum(0.9 - np.abs(dura.above), dura.tentorium), 1.0), head.dural)
    whole = fine((0.7 + 0.35 * broad[1]).clip(0.15, 0.95).astype(np.float32))  # thin in places
    blend(hu, whole * ramp((0.7 - np.abs(fine(dura.sideways[1]))) / 1.2) * ramp(fine(dura.falx[1] / 3)), head.dural)
    blend(hu, share(anatomy.vessels(head, moved, wall.depth), 1.0), head.blood)
    x, y, z, radius, tumour = head.meningioma
    if radius:
        ball: Array = anatomy.ellipsoid(p, (x, y, z), (radius,) * 3) + rough + 2 * broad
        blend(hu, share(np.minimum(ball, wall.depth), 1.3), tumour)
    for bx, by, bz, r, calcium in head.calcified:
        ball = anatomy.ellipsoid(moved, (bx, by, bz), (0.6 * r, 1.3 * r, r))
        if (ball > -4).any():
            blend(hu, share(ball + 0.5 * r * anatomy.noise(head, p, 0.5, 16), 1.5), calcium)

    added: dict[str, Array] = {}
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for region, bleed in zip(regions, bleeds, strict=True):
        part = share(region, bleed.edge)
        if bleed.place == "sulci":
            part *= outer_csf * (1 - in_ventricle)
        elif bleed.label == "intraventricular":
            part *= in_ventricle
        blood = fine(density(bleed, Points(*(v[1] for v in p)), rough[1], head))
        added[bleed.label] = blend(hu, part, blood)
        masks[bleed.label] = part > 0.5
    hu += fine(anatomy.artefacts(head, Points(*(v[1] for v in p)), wall.depth[1]))
    return hu, added, masks


@lru_cache(maxsize=NOISE_TEXTURES)
def _noise_field(kernel: int) -> Array:
    """Periodic noise, standard deviation 1, with the band that filtered back projection leaves.

    Fitted to real slices, through the high-pass that tissue asks for: medians of lag 1 across .62 and down .69, lag 2
    .04 and .22, lag 3 -.10. Textures differ in their cut-off as those of patients do (lag 1 across from .55 to .71).
    """
    white = np.random.default_rng(20190902).standard_normal((NOISE_SIDE, NOISE_SIDE)).astype(np.float32)
    down, across = np.fft.fftfreq(NOISE_SIDE)[:, None], np.fft.rfftfreq(NOISE_SIDE)[None, :]  # cycles a pixel
    wider = np.exp(0.07 * (kernel - (NOISE_TEXTURES - 1) / 2))
    rising = (down**2 + across**2 + 0.0146**2) ** 0.27
    band = rising * np.exp(-((across / (0.222 * wider)) ** 2) - (down / (0.191 * wider)) ** 2)
    field: Array = np.fft.irfft2(np.fft.rfft2(white) * band, s=white.shape)
    return np.asarray(field / field.std(), dtype=np.float32)


def add_noise(hu: Array, sd: float, rng: np.random.Generator, kernel: int = 2) -> Array:
    """The slice with scanner noise of standard deviation `sd` HU: a piece of a large field, shifted and mirrored.

    Air has AIR_NOISE times as much, as measured. `kernel`: 0 … NOISE_TEXTURES - 1.
    """
    top, left = rng.integers(0, NOISE_SIDE - SIDE, 2)
    field = _noise_field(kernel)[top : top + SIDE, left : left + SIDE]
    field = field[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    much = np.where(hu < -900, np.float32(AIR_NOISE * sd), np.float32(sd))
    return hu + much * field


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
