"""Many small images on one sheet, to be looked at."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

GAP = 3
CAPTION = 13


def contact_sheet(
    images: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
    captions: list[str] | None = None,
    columns: int = 0,
    cell: int = 112,
) -> Image.Image:
    """A sheet of images (each H×W×C or H×W uint8, C 1 or 3; of any sizes) in rows, each scaled to `cell` pixels.

    `columns` 0 makes it about as wide as high. Captions stand under their images, cut to the cell's width.
    """
    columns = columns or max(1, round(len(images) ** 0.5))
    lines = -(-len(images) // columns)
    step = cell + GAP
    line = step + (CAPTION if captions else 0)
    sheet = Image.new("RGB", (columns * step + GAP, lines * line + GAP), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        x, y = GAP + i % columns * step, GAP + i // columns * line
        if image.shape[2:] == (1,):
            image = image[..., 0]
        sheet.paste(Image.fromarray(image).convert("RGB").resize((cell, cell), Image.Resampling.BILINEAR), (x, y))
        if captions:
            draw.text((x + 1, y + cell), captions[i][: cell // 6], fill=(220, 220, 220))
    return sheet
