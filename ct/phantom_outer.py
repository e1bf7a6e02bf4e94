"""What lies outside the brain: skin, fat, muscle, skull, the cavities of face and ear, fractures."""

import numpy as np

from ct import phantom_head as anatomy
from ct.phantom_bleeds import Bleed
from ct.phantom_grid import blend, fine, ramp, share
from ct.phantom_head import Array, Head, Points, Walls

AIR, FAT, MUSCLE, MUCOSA, TABLE_BONE, DIPLOE = -1000.0, -88.0, 54.0, 35.0, 1300.0, 620.0  # HU


def paint_outer(hu: Array, head: Head, p: Points, wall: Walls, bleeds: list[Bleed]) -> None:
    """All but what lies within the skull, laid over air."""
    outside = wall.vault + wall.skull + wall.scalp  # distance inward from the skin
    texture = anatomy.noise(head, p, 1.0, 3)
    tissue = _soft(head, p, wall, outside, texture)
    shell = np.minimum(-wall.depth, wall.depth + wall.skull)
    q = p._replace(x=np.abs(p.x))
    sinus = (9, -86 * head.length, -12 + 3 * texture.mean()), (11, 4, 13)
    air = np.minimum(anatomy.ellipsoid(q, *sinus) + 1.5 * texture, -wall.depth - 1)
    if p.z.min() < -10:  # the face and the bones of the base
        tissue, bones, cavities = _face(head, p, wall, tissue, outside, texture)
        shell, air = np.maximum(shell, bones), np.maximum(air, np.minimum(cavities, -wall.depth - 2))
    blend(hu, share(outside, 0.8), fine(tissue))
    thick = fine(shell.mean(axis=0))
    bone = share(shell, 1.1)
    for bleed in bleeds:
        if bleed.fracture:
            bone *= 1 - 0.85 * _fracture(bleed, p)
    marrow = ((thick - 1.6 - 0.5 * fine(texture[1])) / 2.0).clip(0, 1)  # diploe, only where bone is thick
    blend(hu, bone, head.bone * (TABLE_BONE - (TABLE_BONE - DIPLOE) * marrow))
    if (air > -3).any():
        blend(hu, share(air, 0.9), AIR + 40)


def _soft(head: Head, p: Points, wall: Walls, outside: Array, texture: Array) -> Array:
    """HU of scalp and neck in the middle plane: fat under the skin, towards the base muscle in bundles."""
    p = Points(*(v[1] for v in p))
    outside, texture = outside[1], texture[1]
    low = (-(p.z + 4 + 0.25 * np.abs(p.y)) / 8).clip(0, 1)
    deep = ((outside - wall.scalp[1]) / 8).clip(0, 1)
    bundles = anatomy.noise(head, Points(p.x, p.y, p.z / 2), 0.7, 14) + anatomy.noise(head, p, 1.6, 17)
    temporal = np.exp(-(((p.y + 22) / 26) ** 2)) * ((np.abs(p.x) - 40) / 8).clip(0, 1) * ((34 - p.z) / 20).clip(0, 1)
    muscle = (temporal * (1.6 + 0.3 * texture) + low * (0.6 + 0.9 * deep + 0.6 * bundles) + 0.35 * texture).clip(0, 1)
    tissue = FAT + muscle * (MUSCLE - FAT)
    return tissue + (2.2 - outside).clip(0, 1) * (20 - tissue)


def _face(
    head: Head, p: Points, wall: Walls, tissue: Array, outside: Array, texture: Array
) -> tuple[Array, Array, Array]:
    """Soft tissue (middle plane) with the eyes in it; distances into the bones and into the air of face and base."""
    q = p._replace(x=np.abs(p.x))
    cells = anatomy.noise(head, p, 0.5, 9)
    eye = anatomy.ellipsoid(q, (31, -66, -36), (12, 12, 12))
    socket = anatomy.ellipsoid(q, (30, -56, -36), (19, 26, 18))
    fat = tissue + (socket[1] / 1.5 + 0.5).clip(0, 1) * (FAT + 20 - tissue)
    nerve = np.minimum(2.2 - np.hypot(q.x - 18 - 0.4 * (-54 - p.y), p.z + 35), np.minimum(-30 - p.y, p.y + 58))
    muscles = np.minimum(1.8 - np.abs(np.abs(q.x - 28 + 0.12 * (p.y + 56)) - 11), np.minimum(socket - 2, -40 - p.y))
    tissue = fat + (np.maximum(nerve, muscles)[1] / 1.5 + 0.5).clip(0, 1) * (45 - fat)
    tissue = tissue + (eye[1] / 1.5 + 1.2).clip(0, 1) * (45 - tissue)
    tissue = tissue + (eye[1] / 1.5).clip(0, 1) * (12 - tissue)

    between = np.minimum(np.minimum(17 - q.x, -p.z - 25), np.minimum(-p.y - 4, outside - 7))  # ethmoid, nose
    between = between + 2 * texture
    tissue = tissue + (between[1] / 2 + 0.5).clip(0, 1) * (MUCOSA - tissue)
    septum = np.abs(p.x - 1.5 * texture) - 1.2
    walls = np.abs(q.x - 8.5 - 1.5 * cells) - 0.8 + 2 * (p.y + 30 > 0)
    nose = np.minimum(np.minimum(between, 3.2 + 3.5 * cells), np.minimum(septum, walls))
    maxillary = anatomy.ellipsoid(q, (27, -58, -60), (14, 16, 16)) + 1.2 * texture
    mastoid = np.minimum(np.minimum(5 * cells - 1, q.x - 38), wall.petrous * 9 - 2)
    mastoid = np.minimum(mastoid, np.minimum(wall.vault + wall.skull - 2, -p.z - 24))
    sphenoid = np.minimum(anatomy.ellipsoid(p, (2, -15, -38), (13, 9, 9)) + 2 * texture, np.abs(p.x) - 1)
    air = np.maximum(np.maximum(nose, maxillary - 1), np.maximum(mastoid, sphenoid))

    clivus = np.minimum(6 + 3 * texture, np.minimum(24 - q.x, np.minimum(-p.z - 24, wall.vault + 2)))
    clivus = np.where((p.y < 2) & (p.y > -24) & (wall.floor < 2), np.minimum(clivus, -wall.depth), -9)
    thin = 0.9 - np.minimum(np.abs(between - 0.5), np.where(p.z < -40, np.abs(maxillary), 9))
    thin = np.maximum(thin, np.where(between > 0, 0.5 - np.abs(3.2 + 3.5 * cells), -9))
    bones = np.where(wall.vault > -2, np.maximum(1.2 - np.abs(socket), np.where(wall.depth < -1, thin, -9)), -9)
    arch = np.minimum(2.6 - np.abs(np.hypot(q.x / 1.1, (p.y + 20) / 1.5) - 58), np.minimum(-p.y - 24, p.y + 60))
    arch = np.minimum(arch, 4 - np.abs(p.z + 50))
    return tissue, np.maximum(np.maximum(bones, clivus), arch), air


def _fracture(bleed: Bleed, p: Points) -> Array:
    """A dark line in the bone over a bleed."""
    gap = (p.y - bleed.at[1] + 0.3 * (p.z - bleed.at[2]))[1]
    near = np.sqrt(sum((v[1] - a) ** 2 for v, a in zip(p, bleed.at, strict=True)))
    return ramp((0.5 - np.abs(fine(gap))) / 0.6) * ramp(fine((22 - near) / 4))
