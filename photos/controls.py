"""Photos restyled into the look of CT without learning, and labels permuted: what a translator must be better than.

Corpora of one channel over the translator's HU range, as the translated one, so that both go through the same windows.
No function here sees a label of a CT slice.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.fft
from PIL import Image

from corpus.derive import class_captions
from corpus.images import Images, finish_images
from corpus.manifest import short_hash
from corpus.shards import link
from corpus.windows import LUMINANCE

Pixels = npt.NDArray[np.uint8]


def grey(photos: Pixels, side: int) -> Pixels:
    """Photos (n×H×W×3) → their luminance (n×side×side×1): 0…255 is the HU range from end to end.

    Resized as the translator's input is: bilinear, widened when it shrinks.
    """
    luma = photos.astype(np.float32) @ np.array(LUMINANCE, np.float32)
    if luma.shape[1] != side:
        size = (side, side)
        luma = np.stack([np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BILINEAR)) for each in luma])
    return _to_levels(luma)


def level_shares(views: Pixels) -> npt.NDArray[np.float64]:
    """Share of each of the 256 levels in CT views taken together."""
    return np.bincount(views.ravel(), minlength=256) / views.size


def match_histogram(images: Pixels, shares: npt.NDArray[np.float64]) -> Pixels:
    """Each image (of n×H×W×1) with its levels moved so that they are distributed as `shares` (256) says.

    Histogram specification (Gonzalez, Woods: Digital Image Processing, section 3.3): a level goes where the other
    distribution reaches the share of pixels below its middle. Order is kept; equal levels stay equal.
    """
    target = np.cumsum(shares)
    made = np.empty_like(images)
    for image, out in zip(images, made, strict=True):
        counts = np.bincount(image.ravel(), minlength=256)
        below = (np.cumsum(counts) - counts / 2) / image.size
        out[...] = np.searchsorted(target, below * target[-1]).clip(0, 255).astype(np.uint8)[image]
    return made


def swap_amplitude(images: Pixels, views: Pixels, low_frequencies: float) -> Pixels:
    """Images with the phase of `images` and, at the lowest frequencies, the amplitude of `views` (both n×S×S×1).

    FDA (Yang, Soatto: arXiv 2004.05498, equation 3): swapped is the square of floor(low_frequencies · S) either side of
    frequency 0, and 0 itself (the mean) always. What leaves 0…255 is clipped.
    """
    side = images.shape[1]
    half = int(low_frequencies * side)
    rows, columns = np.abs(scipy.fft.fftfreq(side)) * side, scipy.fft.rfftfreq(side) * side
    low = (rows[:, None] <= half + 0.5) & (columns[None] <= half + 0.5)
    own, other = (scipy.fft.rfft2(some[..., 0].astype(np.float32)) for some in (images, views))
    swapped = np.where(low, np.abs(other) * np.exp(1j * np.angle(own)), own)
    return _to_levels(scipy.fft.irfft2(swapped, s=(side, side)))


def choose_views(ids: Sequence[str], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of `count` CT views each photo gets: from (seed, id) alone, whatever the order and the company."""
    return np.array([np.random.default_rng([seed, int(short_hash(id_), 16)]).integers(count) for id_ in ids], np.int64)


def permute_classes(index: pa.Table, seed: int) -> pa.Table:
    """The index with `label` and `wnid` of each part's images permuted among them; all other columns as they are."""
    parts = np.array(index.column("part").to_pylist())
    order = np.arange(len(parts))
    for number, part in enumerate(sorted(set(parts))):
        rows = np.flatnonzero(parts == part)
        order[rows] = np.random.default_rng([seed, number]).permutation(rows)
    for name in ("label", "wnid"):
        index = index.set_column(index.column_names.index(name), name, index.column(name).take(order))
    return index


def permute_corpus(translated: Path, seed: int, out: Path) -> int:
    """The corpus with its classes permuted, written to `out`; its pixels are the same files. Returns their number."""
    corpus = Images(translated)
    for shard in sorted(translated.glob("images-*.npy")):
        link(shard.resolve(), out / shard.name)
    corpus.index = permute_classes(corpus.index, seed)
    own = ("kind", "schema", "count", "rejected", "side", "channels")
    content = {key: value for key, value in corpus.card.items() if key not in own}
    finish_images(out, corpus.card["kind"], corpus.index, [], class_captions(corpus), **content)
    return len(corpus)


def _to_levels(values: npt.NDArray[np.floating]) -> Pixels:
    return (values.clip(0, 255) + np.float32(0.5)).astype(np.uint8)[..., None]
