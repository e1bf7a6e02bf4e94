"""Which photos and CT views the audit takes, and the grid that shows some of them. No choice depends on an outcome."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from corpus.contact_sheet import contact_sheet
from corpus.windows import Windows

Levels = npt.NDArray[np.uint8]  # n×H×W×1, one channel over the HU range
Images = npt.NDArray[np.uint8]  # n×H×W×3


def spread_over_classes(labels: Sequence[int], rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most `count` of `rows`, the first of each class, then the second of each, and so on; `labels` by row."""
    place: dict[int, int] = {}
    turns = []
    for row in rows:
        turns.append((place.setdefault(labels[row], 0), labels[row], int(row)))
        place[labels[row]] += 1
    return np.array([row for _, _, row in sorted(turns)[:count]], dtype=np.int64)


def ct_views(
    slices: Levels, kind: str, zoom: tuple[float, float], tissue: float, side: int, seed: int
) -> tuple[Levels, npt.NDArray[np.int64]]:
    """One view of each slice at `side` pixels, and the rows of the slices that gave one.

    "crops": a random crop inside the head, as the translator sees it; a slice without a crop of that much tissue (above
    the vertex, nothing but the head's rest) is left out, unless all are so. "full": the whole slice.
    """
    import torch

    from gan.crops import cut, oversampling, random_views, tissue_views, to_signed

    rows = np.arange(len(slices))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images = to_signed(torch.from_numpy(slices))
        if kind == "crops":
            views, share = tissue_views(images, tissue, zoom, rotate=0, flip=False)
            enough = np.flatnonzero(share.numpy() >= tissue)
            rows = enough if len(enough) else rows
        else:
            zoom = (1, 1)
            views = random_views(len(slices), zoom, rotate=0, flip=False, device=images.device)
        cropped = cut(images, views, side, oversampling(slices.shape[1], side, zoom[0]))[torch.from_numpy(rows)]
    return ((cropped.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(), rows


def write_grid(path: Path, rows: Sequence[tuple[Sequence[str], Images]], cell: int = 128) -> None:
    """A PNG of rows of images, each (captions, n×H×W×3 uint8 of any side) and as long as the first; fewer repeat."""
    count = len(rows[0][1])
    cells, captions = [], []
    for names, images in rows:
        for i in range(count):
            cells.append(_to_cell(images[i % len(images)], cell))
            captions.append(names[i % len(names)])
    contact_sheet(np.stack(cells), captions, columns=count, cell=cell).save(path)


def three_and_first(name: str, images: Images, windows: Windows) -> list[tuple[list[str], Images]]:
    """Two rows for a grid: windowed images (n×H×W×3) in false colours, then their first window in grey."""
    window = f"{windows[0].level:g}/{windows[0].width:g} HU"
    first = np.repeat(images[..., :1], 3, axis=-1)
    return [([f"{name}, windows"], images), ([f"{name}, {window}"], first)]


def _to_cell(image: npt.NDArray[np.uint8], cell: int) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((cell, cell), Image.Resampling.BILINEAR))
