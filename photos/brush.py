"""A brush in an object's own coordinates: what is drawn lands rotated, scaled and in perspective on a layer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = npt.NDArray[np.float64]
CLEAR = (0, 0, 0, 0)
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 41)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 41)[:-1])], axis=1)


class Brush:
    """Draws on a transparent square layer of `size` pixels.

    Object coordinates: x to the right and y down, about -1 … 1; `matrix` (2×2, pixels), `centre` (pixels) and `tilt`
    (perspective: 0 none) place them.
    """

    def __init__(self, size: int, matrix: Points, centre: Points, tilt: Points) -> None:
        self.layer = Image.new("RGBA", (size, size), CLEAR)
        self._draw = ImageDraw.Draw(self.layer)
        self._matrix, self._centre, self._tilt = matrix, centre, tilt
        self._scale = float(np.sqrt(abs(np.linalg.det(matrix))))

    def polygon(self, points: Sequence[Sequence[float]] | Points, fill: Colour | None) -> None:
        """A filled polygon; None cuts a hole."""
        self._draw.polygon(self._place(points), fill=(*fill, 255) if fill else CLEAR)

    def line(self, points: Sequence[Sequence[float]] | Points, fill: Colour, width: float) -> None:
        """An open line; `width` in object units."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._place(points), fill=(*fill, 255), width=pixels, joint="curve" if pixels > 4 else None)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour | None, turn: float = 0.0) -> None:
        """A filled ellipse, turned by `turn` radians; None cuts a hole."""
        points = CIRCLE * (rx, ry)
        if turn:
            points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self.polygon(points + np.array([x, y]), fill)

    def _place(self, points: Sequence[Sequence[float]] | Points) -> list[tuple[float, float]]:
        points = np.asarray(points, dtype=np.float64)
        placed = (points @ self._matrix.T) / (1 + points @ self._tilt)[:, None] + self._centre
        return [(x, y) for x, y in placed.tolist()]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`first` moved towards `second` by `share` (0 … 1)."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(first, second, strict=True))
    return r, g, b


def darker(colour: Colour, by: float) -> Colour:
    """Towards black by `by`; towards white if negative."""
    return mix(colour, (0, 0, 0), by) if by >= 0 else mix(colour, (255, 255, 255), -by)
