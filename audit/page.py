"""The audit as one page without network or scripts, with JSON, metrics and pictures beside it."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.kinds import NAMES, as_seen
from audit.material import Material
from audit.parameters import GanAudit
from audit.plots import histogram_plot, kid_plot, ordered, probe_plot
from audit.probe import CONDITIONS
from audit.rows import Row, as_json, figure, headline, number
from audit.samples import three_and_first, write_grid
from corpus.card import write_card
from corpus.shards import evenly
from evaluation.page import environment


def write_audit(
    folder: Path,
    rows: Sequence[Row],
    figures: dict[str, Any],
    material: Material,
    parameters: GanAudit,
    class_names: Sequence[str],
    network: str,
    same_as_training: bool,
    source: str,
) -> None:
    """Write audit.html, audit.json, metrics.json, four pictures and the card into `folder`.

    `network`: which CNN the figures are of; `same_as_training`: the CNN that training's own KID used. `source`: where
    the photos are from ("drawn" proves nothing about CT).
    """
    found = list(rows)
    (ct, patients), shown = next(iter(material.views.values())), slice(parameters.columns)
    pictures = {name: folder / f"{name}.png" for name in ("grid", "probe", "kid")}
    seen = as_seen(material.translated.held_out[shown], material.windows, material.hu_range)
    some = as_seen(ct[evenly(len(ct), len(seen))], material.windows, material.hu_range)
    names = [class_names[label] for label in material.labels[1][shown]]
    write_grid(
        pictures["grid"],
        [
            (names, material.photos.held_out[shown]),
            *three_and_first("translated", seen, material.windows),
            *three_and_first("CT", some, material.windows),
        ],
    )
    probe_plot(pictures["probe"], figures["probe"])
    kid_plot(pictures["kid"], figures["kid"])
    if figures["hounsfield"]:
        pictures["histogram"] = folder / "histogram.png"
        histogram_plot(
            pictures["histogram"], material.translated.held_out, ct, patients, *material.hu_range, parameters.brain
        )
    about = {
        "network": network,
        "same_as_training": same_as_training,
        "source": source,
        "photos": len(material.labels[1]),
        "train_photos": len(material.labels[0]),
        "classes": material.classes,
        "val_patients": len(set(patients)),
        "ct_views": {name: len(views) for name, (views, _) in material.views.items()},
        "forms": ordered(figures["probe"]["clean"]),
    }
    (folder / "audit.json").write_text(json.dumps({"rows": as_json(found), **about, **figures}, indent=1) + "\n")
    (folder / "metrics.json").write_text(json.dumps(headline(found), indent=1) + "\n")
    templates = environment(Path(__file__).parent)
    templates.filters |= {"figure": figure, "anchor": _anchor, "percent": _percent}
    page = templates.get_template("audit.html.j2").render(
        rows=found, figures=figures, about=about, parameters=parameters, conditions=CONDITIONS, names=NAMES,
        summary=summary(found), pictures={name: _inline(path) for name, path in pictures.items()},
    )  # fmt: skip
    (folder / "audit.html").write_text(page, encoding="utf-8")
    write_card(folder, "audit", **about, hu_range=list(material.hu_range))


def summary(rows: Sequence[Row]) -> list[str]:
    """The verdict: core rows gathered by how they stand, worst first."""
    core = [row for row in rows if row.core]
    groups: dict[str, list[str]] = {"no better than what is had for nothing": [], "between floor and ceiling": [],
                                    "as good as can be told here": [], "not to be had": []}  # fmt: skip
    for row in core:
        if row.value is None:
            place = "not to be had"
        elif "worse than its floor" in row.verdict or "from its floor" in row.verdict:
            place = "no better than what is had for nothing"
        elif "worse than its ceiling" in row.verdict:
            place = "between floor and ceiling"
        else:
            place = "as good as can be told here"
        groups[place].append(row.key)
    by_key = {row.key: row for row in core}
    return [
        f"{place[0].upper()}{place[1:]}: "
        + "; ".join(f"{by_key[key].name} {figure(by_key[key])}" for key in keys)
        + "."
        for place, keys in groups.items()
        if keys
    ]


def _anchor(anchor: tuple[str, float | None], unit: str) -> str:
    return "n/a" if anchor[1] is None else f"{number(anchor[1], unit)}{' ' + unit if unit else ''}"


def _percent(found: dict[str, Any]) -> str:
    return f"{100 * found['share']:.1f} ({100 * found['low']:.0f}–{100 * found['high']:.0f})"


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
