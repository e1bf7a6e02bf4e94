"""The kinds of things that the embedded photos show. Each is drawn in about -1 … 1 with three colours that say nothing
of the kind: what tells them apart is shape and texture, as they vary within a kind.
"""

from collections.abc import Callable

import numpy as np

from photos.brush import Brush, Colour, Points, darker, mix

Random = np.random.Generator
Paint = tuple[Colour, Colour, Colour]  # main, second, accent


def draw_wheel(brush: Brush, paint: Paint, random: Random) -> None:
    rim, spokes, hub = paint
    inner = random.uniform(0.68, 0.88)
    brush.ellipse(0, 0, 1, 1, darker(rim, 0.35))
    brush.ellipse(0, 0, (1 + inner) / 2, (1 + inner) / 2, rim)
    brush.ellipse(0, 0, inner, inner, None if random.random() < 0.6 else darker(spokes, 0.6))
    count = int(random.integers(5, 13))
    width = random.uniform(0.5, 1.6) / count
    turn = random.uniform(0, 2 * np.pi)
    for angle in turn + np.arange(count) * 2 * np.pi / count:
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        outer = (1 + inner) / 2
        ends = [across * 0.6, along * outer / width + across * 0.3, along * outer / width - across * 0.3, -across * 0.6]
        brush.polygon(np.stack(ends) * width, spokes)
    size = random.uniform(0.12, 0.26)
    brush.ellipse(0, 0, size, size, hub)
    brush.ellipse(0, 0, size * 0.45, size * 0.45, darker(hub, 0.5))


def draw_ladder(brush: Brush, paint: Paint, random: Random) -> None:
    rail, rung, _ = paint
    foot, head = random.uniform(0.32, 0.5), random.uniform(0.22, 0.34)
    width = random.uniform(0.09, 0.15)
    count = int(random.integers(5, 10))
    for y in np.linspace(-0.85, 0.85, count):
        half = head + (foot - head) * (y + 1) / 2
        brush.line([(-half, y), (half, y)], darker(rung, random.uniform(0, 0.2)), width * 0.8)
        brush.line([(-half, y + width * 0.35), (half, y + width * 0.35)], darker(rung, 0.45), width * 0.2)
    for side in (-1, 1):
        brush.line([(side * head, -1), (side * foot, 1)], rail, width)
        brush.line([(side * head + width / 3, -1), (side * foot + width / 3, 1)], darker(rail, 0.3), width * 0.3)


def draw_tree(brush: Brush, paint: Paint, random: Random) -> None:
    crown, trunk, fruit = paint
    if random.random() < 0.3:  # a conifer
        brush.polygon([(-0.08, 0.5), (0.08, 0.5), (0.1, 1), (-0.1, 1)], trunk)
        tiers = int(random.integers(3, 6))
        for i in range(tiers):
            top, bottom = 0.65 - (i + 1.4) * 1.65 / (tiers + 0.4), 0.65 - i * 1.65 / (tiers + 0.4)
            half = 0.75 * (1 - i / (tiers + 0.5))
            brush.polygon([(0, top), (half, bottom), (half * 0.4, bottom - 0.06), (-half * 0.4, bottom - 0.06),
                           (-half, bottom)], darker(crown, 0.3 - 0.3 * i / tiers))  # fmt: skip
        return
    ends = [(0.0, 1.0, -np.pi / 2 + random.normal(0, 0.06), 0.68, 0.22)]
    tips: list[tuple[float, float]] = []
    for _ in range(4):
        grown = []
        for x, y, angle, length, width in ends:
            tip = (x + np.cos(angle) * length, y + np.sin(angle) * length)
            brush.line([(x, y), tip], trunk, width)
            tips.append(tip)
            grown += [(*tip, angle + turn * random.uniform(0.3, 0.75), length * random.uniform(0.6, 0.78), width * 0.6)
                      for turn in (-1, 1)]  # fmt: skip
        ends = grown
    if random.random() < 0.75:  # in leaf
        clumps = [tips[i] for i in random.permutation(np.arange(1, len(tips)))]
        for i, (x, y) in enumerate(clumps):
            size = random.uniform(0.18, 0.34)
            brush.ellipse(x, y, size, size * 0.8, darker(crown, 0.35 - 0.5 * i / len(clumps)))
        if random.random() < 0.4:
            for x, y in clumps:
                brush.ellipse(x + random.normal(0, 0.08), y + random.normal(0, 0.08), 0.05, 0.05, fruit)


def draw_fish(brush: Brush, paint: Paint, random: Random) -> None:
    body, fins, marks = paint
    deep = random.uniform(0.28, 0.5)
    x = np.linspace(-0.95, 0.6, 24)
    half = deep * np.sin(np.pi * (x + 0.98) / 1.75) ** random.uniform(0.6, 0.9)
    fork = random.uniform(0.05, 0.3)
    brush.polygon([(0.5, 0), (1, -deep * 0.9), (1 - fork, 0), (1, deep * 0.9)], fins)
    top = random.uniform(-0.3, 0)
    brush.polygon([(top - 0.3, -deep * 0.7), (top + 0.1, -deep * 1.6), (0.45, -deep * 0.5)], fins)
    brush.polygon([(-0.1, deep * 0.7), (0.15, deep * 1.4), (0.3, deep * 0.6)], fins)
    brush.polygon(np.concatenate([np.stack([x, -half], 1), np.stack([x, half], 1)[::-1]]), body)
    brush.polygon(np.concatenate([np.stack([x, half * 0.3], 1), np.stack([x, half], 1)[::-1]]), darker(body, -0.35))
    arc = np.linspace(-1.2, 1.2, 7)
    if random.random() < 0.6:  # scales
        step = random.uniform(0.11, 0.17)
        for i, column in enumerate(np.arange(-0.45, 0.5, step)):
            reach = float(np.interp(column, x, half)) * 0.85
            for row in np.arange(-reach + step * 0.5 * (i % 2), reach, step):
                curve = np.stack([column - np.cos(arc) * step * 0.5, row + np.sin(arc) * step * 0.5], 1)
                brush.line(curve, darker(body, 0.4), 0.018)
    else:  # bars
        for column in np.arange(-0.4, 0.5, random.uniform(0.18, 0.3)):
            reach = float(np.interp(column, x, half)) * 0.95
            brush.polygon([(column, -reach), (column + 0.09, -reach * 0.95), (column + 0.05, reach * 0.8),
                           (column - 0.02, reach * 0.8)], marks)  # fmt: skip
    brush.line(np.stack([-0.55 + 0.1 * np.cos(arc), deep * 0.6 * np.sin(arc)], 1), darker(body, 0.5), 0.03)
    brush.ellipse(-0.72, -deep * 0.2, 0.075, 0.075, (240, 240, 235))
    brush.ellipse(-0.73, -deep * 0.2, 0.04, 0.04, (15, 15, 20))


def draw_cup(brush: Brush, paint: Paint, random: Random) -> None:
    body, band, inside = paint
    wide, foot, high = random.uniform(0.5, 0.68), random.uniform(0.3, 0.6), random.uniform(0.55, 0.8)
    flat = random.uniform(0.12, 0.26)
    side = 1 if random.random() < 0.5 else -1
    if random.random() < 0.4:  # a saucer
        brush.ellipse(0, high, 1, 0.24, darker(band, 0.1))
        brush.ellipse(0, high - 0.03, 0.7, 0.15, darker(band, 0.3))
    bow = np.linspace(-1.7, 1.7, 14)
    reach = random.uniform(0.25, 0.4)
    brush.line(
        np.stack([side * (wide * 0.85 + reach * np.cos(bow)), 0.45 * high * np.sin(bow)], 1), darker(body, 0.2), 0.12
    )
    half_circle = np.linspace(0, np.pi, 16)
    bottom = np.stack([foot * np.cos(half_circle), high + foot * flat / wide * np.sin(half_circle)], 1)
    brush.polygon([(-wide, -high), (wide, -high), *bottom.tolist()], body)
    for y in random.uniform(-0.5, 0.6, int(random.integers(0, 3))):
        half = wide + (foot - wide) * (y + high) / (2 * high)
        belt = np.stack([half * np.cos(half_circle), y + half * flat / wide * np.sin(half_circle)], 1)
        brush.polygon([*belt.tolist(), *(belt + np.array([0, random.uniform(0.08, 0.2)]))[::-1].tolist()], band)
    brush.ellipse(0, -high, wide, flat, darker(body, -0.3))
    brush.ellipse(0, -high + 0.02, wide * 0.87, flat * 0.8, darker(inside, 0.4))
    brush.ellipse(0, -high + flat * 0.25, wide * 0.72, flat * 0.5, darker(inside, 0.1))


def draw_house(brush: Brush, paint: Paint, random: Random) -> None:
    wall, roof, door = paint
    front, eaves, ridge = random.uniform(0.35, 0.5), random.uniform(-0.25, 0.05), random.uniform(-0.95, -0.7)
    left, corner, right = -1.0, -1 + 2 * front, 1.0
    peak = (left + corner) / 2
    if random.random() < 0.6:
        x = random.uniform(0.2, 0.7)
        brush.polygon([(x, ridge - 0.15), (x + 0.16, ridge - 0.15), (x + 0.16, eaves), (x, eaves)], darker(wall, 0.35))
    brush.polygon([(corner, eaves), (right, eaves), (right, 0.8), (corner, 0.8)], darker(wall, 0.3))
    brush.polygon([(left, eaves), (peak, ridge), (corner, eaves), (corner, 0.8), (left, 0.8)], wall)
    end = right - (corner - peak) * 0.6
    brush.polygon([(peak, ridge), (end, ridge), (right + 0.06, eaves + 0.06), (corner + 0.05, eaves + 0.06)], roof)
    for share in np.linspace(0.2, 0.9, int(random.integers(3, 6))):
        y = ridge + (eaves - ridge) * share
        brush.line([(peak + (corner - peak) * share, y), (end + (right - end) * share, y)], darker(roof, 0.35), 0.025)
    brush.line([(left - 0.06, eaves + 0.06), (peak, ridge), (corner + 0.06, eaves + 0.06)], darker(roof, 0.3), 0.08)
    for x, y in [(x, 0.15) for x in np.linspace(corner + 0.15, right - 0.3, int(random.integers(2, 4)))] + [
        (peak - 0.1, -0.2)
    ]:
        brush.polygon([(x, y - 0.05), (x + 0.2, y - 0.05), (x + 0.2, y + 0.22), (x, y + 0.22)], darker(door, -0.6))
        brush.line([(x + 0.1, y - 0.05), (x + 0.1, y + 0.22)], darker(wall, 0.6), 0.025)
        brush.line([(x, y + 0.08), (x + 0.2, y + 0.08)], darker(wall, 0.6), 0.025)
    brush.polygon([(peak - 0.12, 0.3), (peak + 0.12, 0.3), (peak + 0.12, 0.8), (peak - 0.12, 0.8)], darker(door, 0.3))


def draw_leaf(brush: Brush, paint: Paint, random: Random) -> None:
    blade, vein, _ = paint
    wide, point = random.uniform(0.4, 0.62), random.uniform(0.7, 1.2)
    t = np.linspace(0, 1, 41)
    half = wide * np.sin(np.pi * t**point) ** random.uniform(0.7, 1.0)
    if random.random() < 0.5:  # a serrated edge
        half = half * (1 + random.uniform(0.08, 0.2) * np.abs(np.sin(t * np.pi * random.integers(6, 11))))
    bend = random.uniform(-0.25, 0.25) * np.sin(np.pi * t)
    y = -0.95 + 1.7 * t
    brush.line([(bend[-1], y[-1]), (random.uniform(-0.15, 0.15), 1.1)], darker(vein, 0.2), 0.06)
    brush.polygon(np.concatenate([np.stack([bend - half, y], 1), np.stack([bend + half, y], 1)[::-1]]), blade)
    brush.polygon(np.concatenate([np.stack([bend, y], 1), np.stack([bend + half, y], 1)[::-1]]), darker(blade, 0.2))
    light = mix(vein, darker(blade, -0.6), 0.5)
    count = int(random.integers(5, 9))
    for at in np.linspace(0.22, 0.92, count):
        root, tip = int(at * 40), max(1, int((at - 0.16) * 40))
        for side in (-1, 1):
            brush.line([(bend[root], y[root]), (bend[tip] + side * half[tip] * 0.86, y[tip])], light, 0.03)
    brush.line(np.stack([bend, y], 1), light, 0.055)


def draw_ball(brush: Brush, paint: Paint, random: Random) -> None:
    first, second, third = paint
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    sectors, rows = 2 * int(random.integers(3, 6)), 12
    bands = random.random() < 0.4
    longitude = np.linspace(0, 2 * np.pi, 2 * sectors + 1)
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    lon, lat = np.meshgrid(longitude, latitude)
    sphere = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1) @ rotation
    brush.ellipse(0, 0, 1, 1, darker(first, 0.1))
    cycle = (first, second) if random.random() < 0.5 else (first, second, third)
    for i in range(rows):
        for j in range(2 * sectors):
            quad = np.array([sphere[i, j], sphere[i, j + 1], sphere[i + 1, j + 1], sphere[i + 1, j]])
            if quad[:, 2].max() > 0:
                quad[:, :2] /= np.maximum(1, np.linalg.norm(quad[:, :2], axis=1))[:, None]
                back = quad[:, 2] < 0  # bring what lies behind the edge onto it
                quad[back, :2] /= np.maximum(np.linalg.norm(quad[back, :2], axis=1), 1e-6)[:, None]
                brush.polygon(quad[:, :2], cycle[(i // 2 if bands else j // 2) % len(cycle)])
    brush.ellipse(-0.35, -0.4, 0.16, 0.1, darker(first, -0.75), 0.7)


def draw_cloth(brush: Brush, paint: Paint, random: Random) -> None:
    ground, warp, weft = paint
    waves, phase, lift = random.uniform(1, 3), random.uniform(0, 6), random.uniform(0.02, 0.09)

    def drape(points: Points) -> Points:
        return points + lift * np.sin(waves * np.pi * points[:, ::-1] + phase)

    def patch(x0: float, x1: float, y0: float, y1: float, fill: Colour) -> None:
        t = np.linspace(0, 1, 9)
        zero = 0 * t
        edges = [
            np.stack([x0 + (x1 - x0) * t, zero + y0], 1),
            np.stack([zero + x1, y0 + (y1 - y0) * t], 1),
            np.stack([x1 - (x1 - x0) * t, zero + y1], 1),
            np.stack([zero + x0, y1 - (y1 - y0) * t], 1),
        ]
        brush.polygon(drape(np.concatenate(edges)), fill)

    patch(-0.95, 0.95, -0.95, 0.95, ground)
    period = random.uniform(0.32, 0.6)
    wide, thin = period * random.uniform(0.3, 0.5), period * random.uniform(0.06, 0.14)
    starts = np.arange(-0.95 + random.uniform(0, 0.2), 0.95 - wide, period)
    for start in starts:
        patch(start, start + wide, -0.95, 0.95, mix(ground, warp, 0.6))
    for start in starts:
        patch(-0.95, 0.95, start, start + wide, mix(ground, weft, 0.6))
        for other in starts:
            patch(other, other + wide, start, start + wide, mix(warp, weft, 0.5))
    for start in starts:
        middle = start + wide + (period - wide) / 2
        if middle + thin < 0.95:
            patch(middle, middle + thin, -0.95, 0.95, warp)
            patch(-0.95, 0.95, middle, middle + thin, weft)


def draw_honeycomb(brush: Brush, paint: Paint, random: Random) -> None:
    wall, cell, honey = paint
    size = random.uniform(0.16, 0.27)
    thick = random.uniform(0.1, 0.25)
    angles = np.arange(6) * np.pi / 3 + np.pi / 6
    hexagon = np.stack([np.cos(angles), np.sin(angles)], 1)
    reach = 0.85 + 0.2 * np.sin(np.arange(64) * 2 * np.pi / 64 * random.integers(2, 5) + random.uniform(0, 6))
    filled = random.uniform(0, 0.5)
    for row in range(-8, 9):
        for column in range(-8, 9):
            x, y = size * np.sqrt(3) * (column + row % 2 / 2), size * 1.5 * row
            if np.hypot(x, y) > reach[int((np.arctan2(y, x) / (2 * np.pi) % 1) * 64) % 64]:
                continue
            brush.polygon(hexagon * size * 1.03 + (x, y), wall)
            fill = honey if random.random() < filled else darker(cell, 0.35)
            brush.polygon(hexagon * size * (1 - thick) + (x, y), darker(fill, 0.35))
            brush.polygon(hexagon * size * (1 - thick) * 0.82 + (x, y + size * 0.08), fill)


def draw_bricks(brush: Brush, paint: Paint, random: Random) -> None:
    brick, mortar, odd = paint
    rows = int(random.integers(6, 11))
    high = 1.9 / rows
    wide = high * random.uniform(1.8, 2.8)
    gap = high * random.uniform(0.1, 0.2)
    broken = random.random() < 0.5
    top = np.sort(random.uniform(0, rows * 0.5, 5)) if broken else np.zeros(5)
    for row in range(rows):
        y = -0.95 + row * high
        for x in np.arange(-1.1 - (row % 2) * wide / 2, 1.1, wide):
            x0, x1 = max(x, -1.1), min(x + wide, 1.1)
            if x1 - x0 < 2 * gap or row < np.interp((x0 + x1) / 2, np.linspace(-1.1, 1.1, 5), top):
                continue
            brush.polygon([(x0, y), (x1, y), (x1, y + high), (x0, y + high)], mortar)
            fill = darker(odd if random.random() < 0.12 else brick, random.uniform(-0.15, 0.3))
            brush.polygon([(x0 + gap / 2, y + gap / 2), (x1 - gap / 2, y + gap / 2), (x1 - gap / 2, y + high - gap / 2),
                           (x0 + gap / 2, y + high - gap / 2)], fill)  # fmt: skip


def draw_shell(brush: Brush, paint: Paint, random: Random) -> None:
    shell, ribs, mouth = paint
    turns = random.uniform(2.2, 3.2)
    growth = random.uniform(0.2, 0.27)
    hand = 1 if random.random() < 0.5 else -1
    angle = np.linspace(0, turns * 2 * np.pi, 70)
    radius = 0.72 * np.exp(growth * (angle - angle[-1]))
    x, y = radius * np.cos(angle), hand * radius * np.sin(angle)
    tube = radius * (1 - np.exp(-growth * 2 * np.pi)) * 0.62
    every = int(random.integers(3, 6))
    for i in range(len(angle)):
        brush.ellipse(x[i], y[i], tube[i] * 1.1, tube[i] * 1.1, darker(shell, 0.65))
        brush.ellipse(
            x[i], y[i], tube[i], tube[i], ribs if i % every == 0 else darker(shell, 0.15 - 0.4 * i / len(angle))
        )
    brush.ellipse(x[-1], y[-1], tube[-1] * 0.75, tube[-1] * 0.75, darker(mouth, 0.45))


KINDS: tuple[tuple[str, Callable[[Brush, Paint, Random], None], float], ...] = (  # name, hand, degrees it may lean
    ("spoked wheel", draw_wheel, 30),
    ("ladder", draw_ladder, 28),
    ("tree", draw_tree, 8),
    ("fish", draw_fish, 25),
    ("cup", draw_cup, 10),
    ("house", draw_house, 5),
    ("veined leaf", draw_leaf, 60),
    ("striped ball", draw_ball, 180),
    ("plaid cloth", draw_cloth, 40),
    ("honeycomb", draw_honeycomb, 30),
    ("brick wall", draw_bricks, 6),
    ("spiral shell", draw_shell, 180),
)
