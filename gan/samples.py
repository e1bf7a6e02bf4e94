"""Sample grids: fixed photos and CT views, what the translator makes of them, and the way back."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from corpus.contact_sheet import contact_sheet
from corpus.windows import Window, window_table

COLUMNS = 12


def levels(images: Tensor) -> Tensor:
    """n×1×H×W in -1…1 → n×H×W×1 uint8, rounded, on the same device: the one-channel form that is stored."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)


def to_levels(images: Tensor) -> npt.NDArray[np.uint8]:
    """`levels` in memory."""
    return levels(images).cpu().numpy()


def write_grid(
    path: Path, photos: Tensor, translated: Tensor, cycled: Tensor, cts: Tensor, as_photos: Tensor,
    window: Window, hu: tuple[float, float],
) -> None:  # fmt: skip
    """Rows: photos, translated (in `window`), cycled; CT views (in `window`), as photos. At most 12 columns.

    All n×1×H×W in -1…1; `hu` is the range of the HU channel.
    """
    table = window_table((window, window, window), *hu)[:, 0]
    rows = [to_levels(part[:COLUMNS])[..., 0] for part in (photos, translated, cycled, cts, as_photos)]
    rows[1], rows[3] = table[rows[1]], table[rows[3]]
    sheet = contact_sheet(np.concatenate(rows), columns=len(rows[0]), cell=max(96, rows[0].shape[1]))
    sheet.save(path)
