"""What a classifier confuses, as PNG for `dvc plots`; the same predictions give the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix

from evaluation.style import COLOURS, STYLE, save

NAMED = 20  # classes that have room for their names
DPI = 120


def confusion(
    path: Path, truth: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Share of each true class (rows) that was taken for each class (columns); held-out photos."""
    shares = confusion_matrix(truth, predicted, labels=range(len(classes)), normalize="true")
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axis = plt.subplots(figsize=(5.6, 5), layout="constrained")
        shown = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        if len(classes) <= NAMED:
            axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=7)
            axis.set_yticks(range(len(classes)), classes, fontsize=7)
        axis.set_xlabel("taken for")
        axis.set_ylabel("class")
        figure.colorbar(shown, shrink=0.8, label="share of the class")
        save(figure, path, DPI)


def scores(path: Path, truth: npt.NDArray[Any], probabilities: npt.NDArray[Any], labels: Sequence[str]) -> None:
    """Probabilities of val's slices, with and without each label (each column of n×k), every histogram of area 1."""
    bins = np.linspace(0, 1, 21).tolist()
    with plt.rc_context(STYLE):
        columns = -(-len(labels) // 2)
        figure, axes = plt.subplots(2, columns, figsize=(2.6 * columns, 4), layout="constrained", sharex=True)
        for axis, name, has, given in zip(axes.flat, labels, truth.T > 0, probabilities.T, strict=False):
            for number, (word, part) in enumerate((("without", given[~has]), ("with", given[has]))):
                if len(part):
                    axis.hist(
                        part, bins, density=True, histtype="step", color=COLOURS[number], label=f"{word}: {len(part):,}"
                    )
            axis.set_title(name, fontsize=9, loc="left")
            axis.set_yticks([])
            axis.legend(fontsize=6.5, loc="upper right")
        figure.supxlabel("probability, val", fontsize=8.5)
        save(figure, path, DPI)
