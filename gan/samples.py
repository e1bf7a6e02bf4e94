"""Sample grids: fixed photos and CT views, what the translator makes of them, and the way back."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from corpus.contact_sheet import contact_sheet
from corpus.windows import Window, window_table

COLUMNS = 12
CT_ROWS = (1, 3)


def levels(images: Tensor) -> Tensor:
    """n×C×H×W in -1…1 → n×H×W×C uint8, rounded, on the same device: the form that is stored."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def to_levels(images: Tensor) -> npt.NDArray[np.uint8]:
    """`levels` in memory."""
    return levels(images).cpu().numpy()


def write_grid(
    path: Path, photos: Tensor, translated: Tensor, cycled: Tensor, cts: Tensor, as_photos: Tensor,
    window: Window, hu: tuple[float, float],
) -> None:  # fmt: skip
    """Rows: photos, translated (in `window`), cycled; CT views (in `window`), as photos. At most 12 columns.

    All n×1×H×W in -1…1, `hu` the range of the HU channel; or n×3×H×W: RGB, and CT as windows, `window` the first.
    """
    rows = [to_levels(part[:COLUMNS]) for part in (photos, translated, cycled, cts, as_photos)]
    if photos.shape[1] == 1:
        table = window_table((window, window, window), *hu)
        rows = [table[row[..., 0]] if place in CT_ROWS else row.repeat(3, -1) for place, row in enumerate(rows)]
    else:
        rows = [row[..., :1].repeat(3, -1) if place in CT_ROWS else row for place, row in enumerate(rows)]
    sheet = contact_sheet(np.concatenate(rows), columns=len(rows[0]), cell=max(96, rows[0].shape[1]))
    sheet.save(path)
