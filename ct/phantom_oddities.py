"""What is odd in some of the phantom's series, as in real exports: who has it, and what it does to the slices."""

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ct.phantom_dicom import GLITCH, KINDS, Kind
from ct.phantom_parameters import Oddities
from ct.phantom_slice import SIDE, Pose

Oddity = Literal["truncated", "glitch", "other_size", "duplicate_positions", "metal", ""]
IN_ORDER: tuple[Oddity, ...] = ("truncated", "glitch", "other_size", "duplicate_positions", "metal")
ROWS, COLUMNS = 464, 400  # of a series of another size
REACH = 11.0  # mm above and below the middle of a clip


class Clip(NamedTuple):
    """A metal clip that an operation left in the brain; of one shape through the slices it is in."""

    row: float  # pixels of 512
    column: float
    height: float  # mm of its middle over the series' first slice
    direction: float  # of its long side, radians
    hu: float
    rays: tuple[tuple[float, float, float], ...]  # direction (radians), width (radians), HU at 10 mm


def oddity_of(patient: int, oddities: Oddities) -> Oddity:
    """What is odd in a patient's series: the first ones are dealt one oddity each, in the order of IN_ORDER."""
    for name in IN_ORDER:
        count = int(getattr(oddities, name))
        if patient < count:
            return name
        patient -= count
    return ""


def stored_as(kind: Kind, oddity: Oddity) -> Kind:
    """The kind that shows the oddity: the glitch is one itself, and 12 bits cannot hold metal."""
    return {"glitch": GLITCH, "metal": KINDS["decimal"]}.get(oddity, kind)


def slices_of(count: int, oddity: Oddity) -> list[int]:
    """For each file of a series of `count` slices, which slice it is; extra files stand behind."""
    extra = {"truncated": [count], "duplicate_positions": [count // 2]}.get(oddity, [])
    return [*range(count), *extra]


def frame_of(oddity: Oddity) -> tuple[slice, slice]:
    """Rows and columns of the 512×512 picture that a file holds."""
    if oddity != "other_size":
        return slice(0, SIDE), slice(0, SIDE)
    top, left = (SIDE - ROWS) // 2, (SIDE - COLUMNS) // 2
    return slice(top, top + ROWS), slice(left, left + COLUMNS)


def draw_clip(rng: np.random.Generator, pose: Pose, slices: int) -> Clip:
    """A clip within the slices, near the middle of the head."""
    count = int(rng.integers(6, 10))
    strengths = rng.choice((-1, 1), count) * rng.uniform(50, 150, count)
    directions, widths = rng.uniform(0, np.pi, count), rng.uniform(0.02, 0.07, count)
    return Clip(
        row=SIDE / 2 + (pose.shift[1] + float(rng.uniform(-35, -5))) / pose.spacing,
        column=SIDE / 2 + (pose.shift[0] + float(rng.uniform(-25, 25))) / pose.spacing,
        height=pose.step * float(rng.integers(slices)),
        direction=float(rng.uniform(0, np.pi)),
        hu=float(rng.uniform(12_000, 27_000)),
        rays=tuple(zip(directions.tolist(), widths.tolist(), strengths.tolist(), strict=True)),
    )


def add_clip(hu: npt.NDArray[np.float32], clip: Clip, pose: Pose, number: int) -> npt.NDArray[np.float32]:
    """A slice (512×512, HU) with the part of the clip that is in it, and the streaks which that makes."""
    share = 1 - abs(number * pose.step - clip.height) / REACH
    if share <= 0:
        return hu
    y = ((np.arange(SIDE, dtype=np.float32) - clip.row) * pose.spacing)[:, None]
    x = ((np.arange(SIDE, dtype=np.float32) - clip.column) * pose.spacing)[None, :]
    along = x * np.cos(clip.direction) + y * np.sin(clip.direction)
    across = y * np.cos(clip.direction) - x * np.sin(clip.direction)
    metal = np.clip(0.5 - np.maximum(np.abs(along) - 4, np.abs(across) - 0.8) / 0.7, 0, 1)
    angle, away = np.arctan2(y, x), np.hypot(x, y)
    streaks = np.zeros_like(hu)
    for direction, width, much in clip.rays:
        aside = np.abs(np.sin(angle - direction)) / width
        streaks += np.float32(much) * np.exp(-0.5 * aside**2, dtype=np.float32)
    streaks *= share * 10 / np.maximum(away, 5)
    return ((hu + streaks) * (1 - metal) + metal * (hu + share * clip.hu)).astype(np.float32)
