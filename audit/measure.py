"""The audit: everything that is measured on held-out photos, their translations and val patients' slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.agreement import Classify, agreement, grey, grey_windowed
from audit.degrade import degrade, luminance
from audit.diversity import diversity
from audit.histogram import compare
from audit.intervals import share
from audit.parameters import GanAudit
from audit.retrieval import retrieved
from corpus.windows import Windows, to_windows

CELLS = (8, 32)  # retrieval's grids; the second saturates and is there to show it


def measure(
    photos: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    translated: npt.NDArray[np.uint8],
    ct: npt.NDArray[np.uint8],
    patients: Sequence[str],
    windows: Windows,
    hu_range: tuple[float, float],
    parameters: GanAudit,
    classify: Classify,
    seed: int,
) -> dict[str, Any]:
    """All figures as nested dictionaries of numbers: retrieval, agreement, hounsfield, diversity.

    `photos` n×H×W×3, `translated` n×h×w×1 of the same photos in order, `ct` m×h×w×1 views, `patients` (m) theirs;
    one-channel images are uint8 over `hu_range`. `labels` (n) are columns of what `classify` returns.
    """
    as_seen = to_windows(translated, windows, *hu_range)
    through_chain = grey_windowed(photos, windows, hu_range, hu_range)
    squeezed = grey_windowed(photos, windows, hu_range, parameters.squeezed)
    source = luminance(photos)
    retrieval: dict[str, Any] = {"chance": 1 / len(photos)}
    for name, images in (("translated", as_seen), ("grey_windowed", through_chain), ("grey_squeezed", squeezed)):
        spoilt = luminance(degrade(images, parameters.retrieval.blur, parameters.retrieval.noise_sd, seed))
        for cells in CELLS:
            found = retrieved(source, spoilt, cells)
            retrieval.setdefault(f"cells_{cells}", {})[name] = share(found, parameters.confidence)
    kinds = {
        "photos": photos,
        "grey": grey(photos),
        "grey_windowed": through_chain,
        "grey_squeezed": squeezed,
        "translated": as_seen,
    }
    return {
        "retrieval": retrieval,
        "agreement": agreement(classify, kinds, labels, parameters.confidence),
        "hounsfield": compare(translated, ct, patients, *hu_range),
        "diversity": diversity(translated[..., 0], ct[..., 0], patients, *hu_range),
    }


def headline(figures: dict[str, Any]) -> dict[str, float]:
    """The four figures that become columns of `dvc exp show`."""
    return {
        "retrieval_8": figures["retrieval"]["cells_8"]["translated"]["share"],
        "agreement_translated": figures["agreement"]["translated"]["share"],
        "agreement_grey_windowed": figures["agreement"]["grey_windowed"]["share"],
        "hu_distance": figures["hounsfield"]["distance"],
    }


def in_words(figures: dict[str, Any]) -> list[str]:
    """The audit as lines to print."""
    retrieval, agreed = figures["retrieval"], figures["agreement"]
    hounsfield, varied = figures["hounsfield"], figures["diversity"]
    lines = [
        f"retrieval of the photo by 8×8 gradients after blur and noise {_percent(retrieval['cells_8']['translated'])}, "
        f"chance {retrieval['chance']:.1%}",
        "agreement of the classifier: "
        + ", ".join(f"{name.replace('_', ' ')} {_percent(agreed[name])}" for name in agreed if name != "chance")
        + f", chance {agreed['chance']:.1%}",
    ]
    spread = hounsfield["between_patients"]
    beside = (
        f"one val patient from the others {spread['median']:.1f} (median), {spread['largest']:.1f} (largest of "
        f"{spread['patients']})"
        if spread
        else "a single val patient: no spread to compare with"
    )
    lines.append(f"Hounsfield histogram: {hounsfield['distance']:.1f} HU from CT; {beside}")
    bands = hounsfield["bands"]
    lines.append(
        "pixels, translated / CT: "
        + ", ".join(f"{band} {bands['translated'][band]:.0%} / {bands['ct'][band]:.0%}" for band in bands["ct"])
    )
    ratio = f"{varied['ratio']:.2f}" if varied["ratio"] is not None else "not defined: the CT views are all alike"
    lines.append(f"diversity, as a ratio to CT's: {ratio}")
    return lines


def _percent(found: dict[str, Any]) -> str:
    return f"{found['share']:.1%} ({found['low']:.1%} – {found['high']:.1%})"
