"""Distances on a coarse grid, three planes through a slice, → shares of tissue at every pixel."""

import numpy as np

from ct.phantom_head import Array

STEP = 4  # pixels between computed distances


def fine(coarse: Array) -> Array:
    """Linear interpolation to every pixel: h×w → 4(h-1)+1 × 4(w-1)+1."""
    for _ in range(2):
        out = np.empty((2 * coarse.shape[0] - 1, coarse.shape[1]), dtype=np.float32)
        out[::2] = coarse
        out[1::2] = 0.5 * (coarse[1:] + coarse[:-1])
        coarse = out
    for _ in range(2):
        out = np.empty((coarse.shape[0], 2 * coarse.shape[1] - 1), dtype=np.float32)
        out[:, ::2] = coarse
        out[:, 1::2] = 0.5 * (coarse[:, 1:] + coarse[:, :-1])
        coarse = out
    return coarse


def ramp(q: Array) -> Array:
    """Share of tissue across an edge one unit wide."""
    return np.clip(q + np.float32(0.5), 0, 1)


def _edge(d: Array, width: float) -> Array:
    """A distance on three planes in units of its edge's width: in plane, and what the slant adds through the slice."""
    return d.mean(axis=0) / (width + np.abs(d[2] - d[0]))


def share(d: Array, width: float) -> Array:
    return ramp(fine(_edge(d, width)))


def blend(under: Array, share: Array, hu: Array | float) -> Array:
    """`hu` laid over `under` in place; returns what that added."""
    added = share * (hu - under)
    under += added
    return added
