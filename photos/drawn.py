"""The embedded photos: drawn scenes with one thing in each, so that the whole pipeline runs without any download.

They test the machinery and prove nothing about photos. Background, light, colours, pose, size, place and clutter vary
independently of the class, which only shape and texture tell.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from photos.brush import Brush, Colour
from photos.objects import KINDS
from photos.parameters import Drawn

Random = np.random.Generator
Field = npt.NDArray[np.float32]


def wnid(label: int) -> str:
    """The folder name of a class: n9 and seven digits, which no WordNet noun has."""
    return f"n9{label + 1:07d}"


def name(label: int, number: int) -> str:
    """The name of a photo without suffix, as ImageNet has it: wnid_number."""
    return f"{wnid(label)}_{number:05d}"


def draw_photo(seed: int, label: int, number: int, side: int) -> npt.NDArray[np.uint8]:
    """One photo, side × side × 3 uint8: a function of (seed, label, number, side) alone.

    `label` is the class, an index into `photos.objects.KINDS`. The object is drawn at twice the side and reduced.
    """
    random = np.random.default_rng([seed, label, number])
    base = _colour(random, random.uniform(40, 215))
    light = random.uniform(0, 2 * np.pi)
    ground = _background(random, side, base)
    return _photograph(random, _with_thing(random, ground, label, base, light), light)


def write_folder(dest: Path, parameters: Drawn, side: int) -> None:
    """The embedded photos as an ImageFolder: `dest/<train|val>/<wnid>/<name>.png` and `dest/synset_words.txt`."""
    for label in range(parameters.classes):
        for number in range(parameters.per_class):
            folder = dest / part(parameters, number) / wnid(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_photo(parameters.seed, label, number, side)).save(
                folder / f"{name(label, number)}.png"
            )
    lines = [f"{wnid(label)} {KINDS[label][0]}\n" for label in range(parameters.classes)]
    (dest / "synset_words.txt").write_text("".join(lines), encoding="utf-8")


def part(parameters: Drawn, number: int) -> str:
    """The part of a photo: the last ones of each class are held out."""
    return "train" if number < parameters.per_class - parameters.held_out else "val"


def _colour(random: Random, luminance: float) -> Colour:
    """Any hue, mostly a dull one, of about the given luminance (0 … 255)."""
    tint = random.normal(0, 1, 3)
    tint = (tint - tint @ (0.299, 0.587, 0.114)) * random.gamma(2, 8)
    r, g, b = np.clip(luminance + tint, 4, 251).astype(int).tolist()
    return r, g, b


def _noise(random: Random, size: int, cells: int, stretch: int = 1) -> Field:
    """Smooth noise, size × size, mean about 0, sd about 1; `stretch` makes it longer from left to right."""
    coarse = random.normal(0, 1, (cells, max(2, cells // stretch))).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def _background(random: Random, size: int, base: Colour) -> Image.Image:
    """A room with a table, a landscape, a floor seen from above, a sheet of paper: textured, with clutter."""
    other = np.array(_colour(random, float(np.clip(np.mean(base) + random.normal(0, 45), 25, 230))), dtype=np.float32)
    first = np.array(base, dtype=np.float32)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    kind = random.integers(0, 4)
    rough = 5 * _noise(random, size, 6) + random.uniform(2, 7) * _noise(random, size, 40, int(random.integers(1, 8)))
    if kind < 2:  # two planes: wall and table, or sky and ground with hills
        horizon = random.uniform(0.3, 0.7) + random.normal(0, 0.08) * (x - 0.5)
        if kind == 1:
            horizon = horizon + 0.05 * _noise(random, size, 5)[0][None, :]
        below = np.clip((y - horizon) * size, 0, 1)
        depth = 30 * (y - horizon) * random.uniform(-1, 1)
        grain = np.where(below > 0, rough * 1.8, rough * 0.5) + depth
    else:  # one plane, with boards or tiles or none
        angle = random.uniform(0, np.pi)
        below = 0.5 + 0.5 * np.tanh(3 * (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)))
        grain = rough
        if kind == 2:
            along = np.cos(angle) * x + np.sin(angle) * y
            boards = along * random.uniform(3, 8)
            grain = grain - 22 * (np.abs(boards % 1 - 0.5) > 0.47) + 7 * np.sin(np.floor(boards) * 12.9898)
    values = first + (other - first) * below[..., None] + grain[..., None]
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(1, 7))):
        _clutter(random, draw, size, float(np.mean(base)))
    return image.filter(ImageFilter.BoxBlur(random.uniform(0.3, 2) * size / 128))  # out of focus


def _clutter(random: Random, draw: ImageDraw.ImageDraw, size: int, luminance: float) -> None:
    """Something that is no object of any class, at a contrast below the object's."""
    fill = _colour(random, float(np.clip(luminance + random.normal(0, 38), 15, 240)))
    x, y = random.uniform(-0.1, 1.1, 2) * size
    wide, high = random.uniform(0.04, 0.28, 2) * size
    kind = random.integers(0, 4)
    if kind == 0:
        draw.rectangle((x, y, x + wide, y + high), fill)
    elif kind == 1:
        draw.ellipse((x, y, x + wide, y + high), fill)
    elif kind == 2:
        points = (random.uniform(-0.16, 0.16, (5, 2)) * size + (x, y)).tolist()
        draw.polygon([(px, py) for px, py in points], fill)
    else:
        end = random.uniform(0, size, 2)
        draw.line((x, y, float(end[0]), float(end[1])), fill, width=max(1, int(random.uniform(0.005, 0.04) * size)))


def _with_thing(random: Random, ground: Image.Image, label: int, base: Colour, light: float) -> Field:
    """The class's object on the background: posed, shaded as if round, with its shadow; side × side × 3, 0 … 255."""
    side = ground.width
    _, hand, lean = KINDS[label]
    scale = 2 * side * random.uniform(0.31, 0.46)
    turn = np.deg2rad(random.uniform(-lean, lean))
    stretch = random.uniform(0.85, 1.15)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    flip = 1 if random.random() < 0.5 else -1
    matrix = scale * rotation @ np.array([[flip * stretch, random.normal(0, 0.08)], [0, 1 / stretch]])
    spare = max(0.0, 0.5 - 0.9 * scale / (2 * side))
    centre = 2 * side * (0.5 + random.uniform(-spare, spare, 2))
    brush = Brush(2 * side, matrix, centre, random.normal(0, 0.09, 2).clip(-0.2, 0.2))

    behind = float(np.mean(base))
    away = random.uniform(60, 120) * (1 if random.random() < (255 - behind) / 255 else -1)
    main = float(np.clip(behind + away, 20, 235))
    second = float(np.clip(main + random.choice([-1, 1]) * random.uniform(45, 90), 12, 243))
    paint = (_colour(random, main), _colour(random, second), _colour(random, random.uniform(30, 225)))
    hand(brush, paint, random)

    coarse = brush.layer.getchannel("A").reduce(4).filter(ImageFilter.GaussianBlur(side / 40))
    dx, dy = round(np.cos(light) * side / 40), round(np.sin(light) * side / 40)
    toward = np.asarray(ImageChops.offset(coarse, dx, dy), dtype=np.float32)
    lit = toward - np.asarray(ImageChops.offset(coarse, -dx, -dy), dtype=np.float32)  # edges that face the light
    shadow = ImageChops.offset(coarse, 2 * dx, abs(2 * dy)).resize((side, side), Image.Resampling.BILINEAR)
    cast = 1 - np.float32(random.uniform(0.15, 0.5) / 255) * np.asarray(shadow, dtype=np.float32)
    relief = -np.float32(random.uniform(0.1, 0.35)) * np.asarray(
        Image.fromarray(lit).resize((side, side), Image.Resampling.BILINEAR)
    ) + np.float32(random.uniform(1, 5)) * _noise(random, side, side // 3)
    if random.random() < 0.4:
        _occlude(random, brush.layer)
    thing = np.asarray(brush.layer.reduce(2), dtype=np.float32)
    behind_it = np.asarray(ground) * cast[..., None]
    return behind_it + (thing[..., :3] + relief[..., None] - behind_it) * (thing[..., 3:] / 255)


def _occlude(random: Random, image: Image.Image) -> None:
    """Blades, a pole or a corner of something in front of the object."""
    draw = ImageDraw.Draw(image)
    size = image.width
    fill = (*_colour(random, random.uniform(25, 220)), 255)
    kind = random.integers(0, 3)
    if kind == 0:
        for x in random.uniform(0, size, int(random.integers(6, 22))):
            top = size * (1 - random.uniform(0.05, 0.25))
            draw.polygon(
                [(x - size * 0.012, size), (x + random.normal(0, size * 0.03), top), (x + size * 0.012, size)], fill
            )
    elif kind == 1:
        x, width = random.uniform(0, size), random.uniform(0.01, 0.05) * size
        draw.line((x, 0, x + random.normal(0, size * 0.2), size), fill, width=round(width))
    else:
        x, y = random.choice([0, size], 2)
        reach = size * random.uniform(0.08, 0.24)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill)


def _photograph(random: Random, scene: Field, light: float) -> npt.NDArray[np.uint8]:
    """Light that falls off from one side, a colour cast, exposure, lens blur and grain."""
    side = len(scene)
    y, x = np.meshgrid(*2 * [np.arange(side, dtype=np.float32) / side - np.float32(0.5)], indexing="ij")
    slope, corner = np.float32(random.uniform(0, 0.55)), np.float32(random.uniform(0, 0.5))
    falloff = 1 - slope * (np.float32(np.cos(light)) * x + np.float32(np.sin(light)) * y) - corner * (x * x + y * y)
    cast = random.uniform(0.92, 1.08, 3).astype(np.float32) * np.float32(random.uniform(0.8, 1.15))
    values = (scene * (falloff[..., None] * cast)).clip(0, 255).astype(np.uint8)
    blurred = Image.fromarray(values).filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.6) * side / 128))
    grain = random.standard_normal((side, side, 1), dtype=np.float32) * np.float32(random.uniform(1, 5))
    return (np.asarray(blurred) + grain).clip(0, 255).astype(np.uint8)
