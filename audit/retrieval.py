"""Is a translation's photo found among all the photos? Catches 'every photo becomes one blob' without a classifier.

Compared are coarse gradients: at 8×8 the layout counts; at 32×32 and finer the faintest trace is found and the figure
is near 100 % for everything. Correlation counts by its absolute value, since a translator that turns bright into dark
has kept the photo. Dropping the sign of each single difference instead would also forgive a translator that folds the
grey scale (both ends to air), at the price of photos that are there and are not found.
"""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]


def gradients(images: Matrix, cells: int) -> Matrix:
    """n×H×W luminance → n × 2·cells·(cells-1): the differences (dx, then dy) of the image's cells×cells area means."""
    import torch

    means = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(images)[:, None], cells)[:, 0].numpy()
    dx, dy = np.diff(means, axis=2), np.diff(means, axis=1)
    return np.concatenate([dx.reshape(len(images), -1), dy.reshape(len(images), -1)], axis=1)


def correlations(first: Matrix, second: Matrix) -> Matrix:
    """n×k, m×k → n×m: Pearson's correlation of each row with each row; 0 for a row without variance."""
    return _unit(first) @ _unit(second).T


def retrieved(photos: Matrix, translated: Matrix, cells: int) -> npt.NDArray[np.bool_]:
    """Whether each translation's own photo is the one it is most like (n); a tie is not found.

    Both n×H×W luminance (any side each), row i of one made from row i of the other. By chance 1/n are.
    """
    score = np.abs(correlations(gradients(translated, cells), gradients(photos, cells)))
    own = np.diagonal(score).copy()
    np.fill_diagonal(score, -1)
    return own > score.max(axis=1)


def _unit(rows: Matrix) -> Matrix:
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-6)
