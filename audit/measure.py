"""The audit: everything that is measured on photos, their translations and val patients' slices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.consistency import consistency
from audit.degrade import degrade, luminance
from audit.diversity import diversity
from audit.histogram import compare
from audit.intervals import share, share_over_seeds
from audit.kinds import Images, as_seen, grey_hu, kinds
from audit.likeness import likeness
from audit.material import Material
from audit.parameters import GanAudit
from audit.probe import CONDITIONS, probe, spoilt
from audit.retrieval import retrieved

CELLS = (8, 32)  # retrieval's grids; the second saturates and is there to show it
Extract = Callable[[Images], npt.NDArray[np.float32]]  # n×H×W×3 uint8 → n×d features


@dataclass(frozen=True)
class Measured:
    """Figures for `audit.json`, and the hits (seeds×n or n, by form) from which rows are paired."""

    figures: dict[str, Any]
    probe: dict[str, dict[str, npt.NDArray[np.bool_]]]  # condition → form → seeds×n
    retrieval: dict[str, npt.NDArray[np.bool_]]  # at 8×8
    agreement: dict[str, npt.NDArray[np.bool_]]


def measure(
    material: Material,
    parameters: GanAudit,
    extract: Extract,
    classify: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] | None,
    seed: int,
) -> Measured:
    """Every figure of the audit. `classify`: features → logits of the corpus' classes; None: no agreement row.

    Each form of the photos goes through the network once; the probe, KID and the agreement share its features.
    """
    forms = kinds(
        material.photos, material.translated, material.controls, material.windows, material.hu_range,
        parameters.squeezed,
    )  # fmt: skip
    confidence, held_out = parameters.confidence, material.labels[1]
    hits: dict[str, dict[str, npt.NDArray[np.bool_]]] = {condition: {} for condition in CONDITIONS}
    clean, found_again, logits = {}, {}, {}
    retrieval: dict[str, Any] = {"chance": 1 / len(held_out)}
    source = luminance(material.photos.held_out)
    for name, pair in forms.items():
        train = extract(pair.train)
        tests = {test: extract(images) for test, images in spoilt(pair.held_out, parameters.probe, seed).items()}
        clean[name] = tests["clean"]
        fits = {name: False, **({"permuted": True} if name == "translated" else {})}
        for form, permute in fits.items():
            found = probe(train, material.labels[0], tests, held_out, parameters.probe, seed, permute)
            for condition, each in found.items():
                hits[condition][form] = each
        if classify:
            logits[name] = classify(clean[name])
        faint = luminance(degrade(pair.held_out, parameters.retrieval.blur, parameters.retrieval.noise_sd, seed))
        for cells in CELLS:
            each = retrieved(source, faint, cells)
            retrieval.setdefault(f"cells_{cells}", {})[name] = share(each, confidence)
            if cells == CELLS[0]:
                found_again[name] = each
    named = {name: found.argmax(axis=1) == held_out for name, found in logits.items()}
    figures: dict[str, Any] = {
        "probe": {
            "chance": 1 / material.classes,
            **{
                condition: {form: share_over_seeds(each, confidence) for form, each in by_form.items()}
                for condition, by_form in hits.items()
            },
        },
        "retrieval": retrieval,
        "kid": _kid(material, clean, extract, confidence, seed),
        **tissue(material, material.translated.held_out, parameters, seed),
        "agreement": {
            **{name: share(each, confidence) for name, each in named.items()},
            "chance": 1 / material.classes,
        }
        if classify
        else None,
    }
    return Measured(figures, hits, found_again, named)


def _kid(
    material: Material, clean: Mapping[str, npt.NDArray[np.float32]], extract: Extract, confidence: float, seed: int
) -> dict[str, Any]:
    found = {}
    for name, (views, patients) in material.views.items():
        features = extract(as_seen(views, material.windows, material.hu_range))
        found[name] = likeness(clean, features, patients, confidence, seed)
    return found


def tissue(material: Material, translated: Images, parameters: GanAudit, seed: int) -> dict[str, Any]:
    """Hounsfield histogram (of one-channel translations alone), window consistency, diversity.

    `translated`: of the held-out photos, n×h×w×1 over the HU range or n×h×w×3 windows.
    """
    (ct, patients), hu_range = next(iter(material.views.values())), material.hu_range
    one_channel, confidence = translated.shape[-1] == 1, parameters.confidence
    unlearnt = grey_hu(material.photos.held_out, hu_range, hu_range)
    hounsfield = None
    if one_channel:
        hounsfield = {
            part: {
                "translated": compare(translated, ct, patients, *hu_range, band, confidence, seed),
                "grey_windowed": compare(unlearnt, ct, patients, *hu_range, band, confidence, seed),
            }
            for part, band in (("all", None), ("brain", parameters.brain))
        }
    seen = {
        "translated": as_seen(translated, material.windows, hu_range),
        "photos": material.photos.held_out,
    }
    # The widest window is the nearest that three free channels have to one Hounsfield channel.
    widest = int(np.argmax([window.width for window in material.windows]))
    window = material.windows[widest]
    if one_channel:
        varied = diversity(translated[..., 0], ct[..., 0], patients, *hu_range, confidence, seed)
    else:
        as_windows = as_seen(ct, material.windows, hu_range)[..., widest]
        varied = diversity(translated[..., widest], as_windows, patients, window.low, window.high, confidence, seed)
    return {
        "hounsfield": hounsfield,
        "consistency": {
            **{
                name: _with_interval(consistency(images, material.windows, hu_range), confidence)
                for name, images in seen.items()
            },
            "by_construction": one_channel,
        },
        "diversity": varied,
    }


def _with_interval(found: dict[str, Any], confidence: float) -> dict[str, float]:
    from scipy.stats import sem, t

    each = found["residual"]
    half = float(t.ppf((1 + confidence) / 2, len(each) - 1) * sem(each))
    mean = float(each.mean())
    return {"residual": mean, "low": max(0.0, mean - half), "high": mean + half, "wrong": found["wrong"]}
