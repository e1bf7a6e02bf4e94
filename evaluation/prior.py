"""From logits to calibrated probabilities, by what an evaluation fitted on val, and to another prevalence."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.card import read_card
from evaluation.calibration import Temperature, scaled
from evaluation.metrics import Floats, sigmoid
from settings.errors import BadArtifact, BadParameter


class Calibration(NamedTuple):
    """Of each label in turn."""

    labels: tuple[str, ...]
    temperatures: tuple[float, ...]
    prevalences: tuple[float, ...]  # share of positive slices on val, which the temperatures were fitted on


def read_calibration(folder: Path, labels: list[str], head: str) -> Calibration:
    """That of an evaluation's `details.json`; BadArtifact where it is missing, or of other labels or another head.

    `head`: SHA-256 of the weights whose logits are to be calibrated.
    """
    try:
        details = json.loads((folder / "details.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadArtifact(
            f"{folder}: no details.json, so no temperatures; run `dvc repro evaluate@{folder.name}`"
        ) from None
    except json.JSONDecodeError as error:
        raise BadArtifact(f"{folder}/details.json: damaged ({error}); rerun evaluate@{folder.name}") from None
    try:
        found, val = details["levels"]["slices"]["labels"], details["val"]
        temperatures = tuple(float(found[label]["calibration"]["temperature"]) for label in labels)
        prevalences = tuple(val["labels"][label]["positive_slices"] / val["slices"] for label in labels)
    except KeyError as error:
        raise BadArtifact(f"{folder}/details.json: has no {error}; rerun evaluate@{folder.name}") from None
    if read_card(folder, "evaluation").get("head") != head:
        raise BadArtifact(f"{folder}: is of another head {folder.name} than is here; run `dvc repro`")
    return Calibration(tuple(labels), temperatures, prevalences)


def calibrated(logits: npt.NDArray[Any], calibration: Calibration, prevalence: float | None = None) -> Floats:
    """Probabilities (n×k) after temperature scaling; at another prevalence of `any`, if one is given (0 … 1).

    The logit of a label then moves by the change of its prior log odds (Saerens et al., Neural Computation 14, 2002,
    eq. 4, for each label alone). The prior of `any` becomes `prevalence`; that of a subtype keeps its share of it. A
    label without a positive slice on val moves by the limit, log(new / old) of `any`. BadParameter where val had no
    slice with `any`, or none without: it then says nothing of the old odds.
    """
    temperatures = [Temperature(value, own=True) for value in calibration.temperatures]
    if prevalence is None:
        return scaled(logits, temperatures)
    return sigmoid(logits / np.array(calibration.temperatures) + _shift(calibration, prevalence))


def _shift(calibration: Calibration, prevalence: float) -> Floats:
    old = np.array(calibration.prevalences, np.float64)
    of_any = old[calibration.labels.index("any")]
    if not 0 < of_any < 1:
        raise BadParameter(f"prevalence: {of_any:g} of the slices on val were positive; odds cannot be moved from that")
    ratio = prevalence / of_any
    # log(new / (1 - new)) - log(old / (1 - old)), where new = ratio · old: finite also for old = 0.
    return np.asarray(np.log(ratio) + np.log1p(-old) - np.log1p(-ratio * old), dtype=np.float64)
