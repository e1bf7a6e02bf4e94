"""Which translator is better? Several of them on the same photos and slices, by the audit's own functions.

    python -m benchmarks.translator_cells --checkout FOLDER --weights FOLDER --out FOLDER TRANSLATOR...

`--checkout`: where prepare-ct, split-ct and prepare-photos have run. TRANSLATOR: folders like artifacts/gan; each is
called by its own name. Reads `gan_audit` of the checkout's params.yaml, which must name a classifier, whose file lies
in `--weights`. Writes cells.json (every figure, versions), cells.csv (a line for each form of the photos), cells.png
(photos, two rows for each translator, CT), probe.png, kid.png and trade-off.png (look against labels), and prints the
table. Translations are kept in `--out` and not made twice.
"""

import argparse
import csv
import json
import platform
import time
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pyarrow.parquet as pq

from audit.classifier import imagenet_columns, load_timm
from audit.kinds import NAMES, as_seen
from audit.material import Material, gather
from audit.measure import measure, tissue
from audit.parameters import GanAudit
from audit.plots import kid_plot, ordered, probe_plot
from audit.probe import CONDITIONS
from audit.samples import three_and_first, write_grid
from backbones.extractor import extract
from corpus.images import Images
from corpus.shards import evenly
from evaluation.style import COLOURS, STYLE, save
from gan.generate import generate
from gan.parameters import GanGenerate
from settings.errors import BadParameter
from settings.loader import load_yaml, read_section
from settings.places import Local
from training.precision import Decisions
from training.ranks import start

if TYPE_CHECKING:
    from accelerate import Accelerator

LIBRARIES = ("torch", "timm", "scikit-learn", "torch-fidelity")


def main(checkout: Path, weights: Path, out: Path, translators: list[Path], parts: list[str], columns: int) -> None:
    """Translate, measure, write."""
    params = load_yaml(checkout / "params.yaml")
    parameters = read_section(GanAudit, params["gan_audit"], "gan_audit")
    chosen = parameters.classifier
    if chosen is None:
        raise BadParameter(
            "gan_audit.classifier: names none; a benchmark of translators needs one that no training used"
        )
    accelerator, decisions = start(Local())
    folders = {folder.name: translated(folder, checkout, out, params, accelerator, decisions) for folder in translators}
    photos = Images(checkout / "artifacts/photos", "photos")
    corpora = {name: Images(folder, "hu", "windows") for name, folder in folders.items()}
    ct = Images(checkout / f"artifacts/ct/hu-{params['prepare_ct']['hu_side']}", "hu")
    split = pq.read_table(checkout / "artifacts/split/parts.parquet").to_pylist()
    ids = [part["id"] for part in split if part["part"] in parts]
    (first, corpus), *others = corpora.items()
    material = gather(photos, corpus, dict(others), ct, ids, parameters, params["seed"])
    audited, classes = load_timm(chosen.architecture, weights / chosen.file, chosen.side), imagenet_columns(photos.card)
    began = time.time()
    figures = measure(
        material,
        parameters,
        lambda images: extract(audited.extractor, images, parameters.batch, accelerator, decisions),
        lambda features: audited.logits(features)[:, classes],
        params["seed"],
    ).figures
    cells = {first: material.translated, **material.controls}
    for group in [*(figures["probe"][c] for c in CONDITIONS), *(k["kinds"] for k in figures["kid"].values()),
                  figures["agreement"], figures["retrieval"]["cells_8"], figures["retrieval"]["cells_32"]]:  # fmt: skip
        group[first] = group.pop("translated")
    found = {
        "network": audited.extractor.name,
        "ct_parts": parts,
        "photos": {"train": len(material.labels[0]), "held_out": len(material.labels[1])},
        "patients": {name: len(set(whose)) for name, (_, whose) in material.views.items()},
        "seconds": round(time.time() - began),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "forms": {key: figures[key] for key in ("probe", "retrieval", "kid", "agreement")},
        "tissue": {name: tissue(material, pair.held_out, parameters, params["seed"]) for name, pair in cells.items()},
    }  # fmt: skip
    (out / "cells.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = table(found)
    with (out / "cells.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    probe_plot(out / "probe.png", figures["probe"], cells)
    kid_plot(out / "kid.png", figures["kid"], cells)
    trade_off(out / "trade-off.png", figures["probe"]["clean"], next(iter(figures["kid"].values())), cells)
    names = [str(name) for name in photos.card.get("class_names", photos.card["classes"])]
    picture(out / "cells.png", material, {name: pair.held_out for name, pair in cells.items()}, names, columns)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines))


def translated(
    folder: Path, checkout: Path, out: Path, params: Mapping[str, Any], accelerator: "Accelerator", decisions: Decisions
) -> Path:
    """The corpus that a translator makes of the checkout's photos, in `out`; made once."""
    corpus = out / folder.name
    if not (corpus / "card.json").exists():
        work = out / "work" / folder.name
        for place in (corpus, work):
            place.mkdir(parents=True, exist_ok=True)
        parameters = read_section(GanGenerate, params["gan_generate"], "gan_generate")
        generate(folder, checkout / "artifacts/photos", parameters, work, corpus, accelerator, decisions)
    return corpus


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """A heading, and a line for each form of the photos; percentages with their intervals, KID in 10⁻³."""
    forms, views = found["forms"], found["forms"]["kid"]
    head = ["form", *(f"probe {name}" for name in CONDITIONS), "found by 8²", "named"]
    head += [f"KID {name}" for name in views] + ["HU all", "HU brain", "windows", "diversity"]
    lines = [head]
    for form in ordered(forms["probe"]["clean"]):
        tables = [*(forms["probe"][c] for c in CONDITIONS), forms["retrieval"]["cells_8"], forms["agreement"]]
        line = [form, *(_percent(group.get(form)) for group in tables)]
        line += [_kid(views[name]["kinds"].get(form)) for name in views]
        lines.append([*line, *_tissue(found["tissue"].get(form))])
    ct = ["CT, other patients", *[""] * 6, *(_kid(views[name]["ct"]) for name in views)]
    return [*lines, [*ct, *_spread(found["tissue"]), "0", "1"]]


def picture(path: Path, material: Material, cells: Mapping[str, Any], class_names: list[str], columns: int) -> None:
    """Photos, each translator's in false colours and in the first window, CT likewise."""
    shown = slice(columns)
    ct = next(iter(material.views.values()))[0]
    some = ct[evenly(len(ct), columns)]
    rows = [([class_names[label] for label in material.labels[1][shown]], material.photos.held_out[shown])]
    for name, images in [*((name, images[shown]) for name, images in cells.items()), ("CT", some)]:
        rows += three_and_first(name, as_seen(images, material.windows, material.hu_range), material.windows)
    write_grid(path, rows)


def trade_off(path: Path, probe: Mapping[str, Any], kid: Mapping[str, Any], cells: Collection[str]) -> None:
    """Labels kept (probe, %) against distance from CT (KID, 10⁻³): a point for each form, translators coloured."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
        by_labels = sorted((form for form in ordered(probe) if form in kid["kinds"]), key=lambda f: -probe[f]["share"])
        for i, form in enumerate(by_labels):
            named, apart = probe[form], kid["kinds"][form]
            x, y = 1000 * apart["kid"], 100 * named["share"]
            colour = COLOURS[1] if form in cells else "#777777"
            x_error = [[x - 1000 * apart["low"]], [1000 * apart["high"] - x]]
            y_error = [[y - 100 * named["low"]], [100 * named["high"] - y]]
            axes.errorbar(x, y, y_error, x_error, "o", color=colour, elinewidth=0.6, markersize=4)
            left = i % 2 == 1  # neighbours' names on either side
            axes.annotate(NAMES.get(form, form), (x, y), (-4 if left else 4, 4), textcoords="offset points", fontsize=8,
                          ha="right" if left else "left", color=colour)  # fmt: skip
        if kid["ct"]:
            axes.axvspan(1000 * kid["ct"]["low"], 1000 * kid["ct"]["high"], color=COLOURS[0], alpha=0.12, linewidth=0)
        axes.set(
            xlabel="KID to CT, 10⁻³ (blue: CT from CT, other patients)", ylabel="held-out photos named by the probe, %"
        )
        save(figure, path, 130)


def _percent(share: Mapping[str, float] | None) -> str:
    return f"{100 * share['share']:.1f} ({100 * share['low']:.0f}–{100 * share['high']:.0f})" if share else ""


def _kid(found: Mapping[str, float] | None) -> str:
    return f"{1000 * found['kid']:.1f} ({1000 * found['low']:.0f}–{1000 * found['high']:.0f})" if found else ""


def _tissue(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [""] * 4
    hu = found["hounsfield"]
    apart = [hu[part]["translated"]["distance"] if hu else None for part in ("all", "brain")]
    distances = ["n/a" if value is None else f"{value:.1f}" for value in apart]
    ratio = found["diversity"]["ratio"]
    return [
        *distances,
        f"{found['consistency']['translated']['residual']:.2f}",
        "n/a" if ratio is None else f"{ratio:.2f}",
    ]


def _spread(tissue: Mapping[str, Any]) -> list[str]:
    """The largest distance of one patient from the others, of all pixels and of brain."""
    for found in tissue.values():
        if (hu := found["hounsfield"]) and hu["all"]["translated"]["between_patients"]:
            spreads = [hu[part]["translated"]["between_patients"] for part in ("all", "brain")]
            return [f"≤ {spread['largest']:.1f}" if spread else "" for spread in spreads]
    return ["", ""]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", default=["val"], help="of patients whose slices are CT (default: val)")
    parser.add_argument("--columns", type=int, default=8, help="photos in cells.png")
    parser.add_argument("translators", type=Path, nargs="+")
    given = parser.parse_args()
    main(given.checkout, given.weights, given.out, given.translators, given.parts, given.columns)
