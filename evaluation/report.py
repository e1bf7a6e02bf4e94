"""The report: one HTML page without network or scripts, its table and figures as files beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from corpus.card import read_card, write_card
from evaluation.arms import Group, groups, limits
from evaluation.compare import Comparison, Run, compare
from evaluation.flow import flow
from evaluation.metrics import FEW
from evaluation.page import environment, number
from evaluation.parameters import Intervals
from evaluation.pictures import data_uri
from evaluation.provenance import (
    digest_of_code,
    digest_of_parameters,
    edited,
    revisions,
    seeds_of,
)
from evaluation.report_figures import (
    arms_figures,
    curves_figures,
    figure2,
    lesion_sizes,
    looks,
)
from evaluation.table import (
    PAPER,
    Row,
    cnn_row,
    data_sentence,
    floor_row,
    pretrained_on,
    start_names,
    variant_row,
    write_table,
)
from evaluation.verdict import PREVALENCES, Grounds, contrast_of, sentences


@dataclass(frozen=True)
class Sources:
    """Where everything lies, and the tables of params.yaml. Artifacts that a graph may lack are None."""

    variants: Mapping[str, Mapping[str, Any]]  # params.yaml: variants, of those that gave something
    cnns: Mapping[str, Mapping[str, Any]]  # params.yaml: cnns
    corpora: Mapping[str, Mapping[str, Any]]  # params.yaml: corpora
    skipped: Mapping[str, str]  # variants that gave nothing, and why
    reference: str  # report.reference
    intervals: Intervals  # evaluate.intervals
    clip: float  # evaluate.clip
    ct_source: str  # prepare_ct.source
    photos_source: str  # prepare_photos.source
    imagenet: bool  # a weights file is named
    evaluations: Mapping[str, Path]  # variant → artifacts/evaluation/<variant>
    heads: Mapping[str, Path]  # variant → artifacts/vit/<variant>
    tuned: Mapping[str, Path]  # CNN → artifacts/cnns/<cnn>, of those fitted on CT
    pretrained: Mapping[str, Path]  # corpus → artifacts/pretrained/<corpus>
    floors: Path
    lesions: Path | None  # artifacts/phantom-masks: phantoms only
    hashed: bool  # ids of slices are hashes
    ct: Path  # artifacts/ct/hu-<side>
    parts: Path
    photos: Path
    translated: Path | None
    gan: Path | None
    audit: Path | None
    provenance: tuple[Path, ...]

    @property
    def params(self) -> dict[str, Any]:
        """The tables as `evaluation.arms` takes them."""
        return {"variants": self.variants, "cnns": self.cnns, "corpora": self.corpora}


def write_report(folder: Path, sources: Sources, title: str, dpi: int) -> list[Row]:
    """Write report.html, its tables (CSV) and figures (PNG) and the card into `folder`; returns the rows of Table 1."""
    details = {name: _json(path / "details.json") for name, path in sources.evaluations.items()}
    floors = _json(sources.floors / "floors.json")
    labels = list(floors["test"]["positive_slices"])
    arms = groups(sources.params)
    found = _compare(sources, arms, list(floors["floors"]), labels)
    rows = _rows(sources, details, floors, found)
    write_table(folder / "table1.csv", rows)
    chosen = min(details, key=lambda name: details[name]["val"]["weighted_log_loss"])
    data = data_sentence(sources.ct_source, sources.photos_source)
    game, overlays = looks(folder, sources, chosen, labels, dpi)
    mine = next((row for row in game if row.variant == chosen and row.label == "any"), None)
    grounds = Grounds(found, arms, tuple(floors["floors"]), chosen, mine, sources.skipped)
    records = [_json(path) for path in sources.provenance]
    names = start_names(sources.photos_source, sources.imagenet)
    template = environment(Path(__file__).parent).get_template("report.html.j2")
    page = template.render(
        title=title,
        data=data,
        proves_nothing=sources.ct_source == "phantom" or sources.photos_source == "drawn",
        verdict=sentences(grounds),
        rows={kind: [row for row in rows if row.kind == kind] for kind in ("variant", "floor", "cnn")},
        chosen=chosen,
        reference=sources.reference if sources.reference not in sources.skipped else "",
        confidence=sources.intervals.confidence,
        paper=PAPER,
        details=details,
        floors=floors,
        few=FEW,
        figure2=figure2(folder, sources, rows, names, floors["floors"][PREVALENCES]["weighted_log_loss"], data, dpi),
        arms=_arms(found, arms),
        limits=limits(arms),
        label_fractions=arms_figures(folder, found, arms, data, dpi),
        by_size=lesion_sizes(folder, sources, labels, data, dpi),
        pointing=[row for row in game if row.label == "any"],
        overlays=overlays,
        flow=flow(sources.ct, sources.photos, sources.parts, floors, next(iter(details.values())), sources.provenance),
        sheets=_sheets(sources),
        reliability={name: data_uri(path / "reliability.png") for name, path in sources.evaluations.items()},
        translator=_translator(sources),
        curves=curves_figures(folder, sources, dpi),
        provenance=sorted(records, key=lambda record: record["stage"]),
        identity={
            "revisions": revisions(records),
            "parameters": digest_of_parameters(records),
            "code": digest_of_code(records),
            "edited": edited(records),
            "seeds": seeds_of(records),
            "seconds": sum(record.get("seconds", 0) for record in records),
        },
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_card(
        folder, "report", data=data, variants=list(details), floors=list(floors["floors"]), cnns=list(sources.tuned)
    )
    return rows


def _compare(sources: Sources, arms: list[Group], floors: list[str], labels: list[str]) -> Comparison:
    """Everything against the reference and every floor, and arm against arm; one draw of patients for all."""
    paths = {name: path / "scores.parquet" for name, path in sources.evaluations.items()}
    paths |= {name: sources.floors / f"scores-{name}.parquet" for name in floors}
    baselines = [*floors, *([sources.reference] if sources.reference in paths else [])]
    pairs = [(name, baseline) for name in paths for baseline in baselines if name != baseline]
    pairs += [pair for group in arms for pair in group.contrasts]
    tables = {Run(name, 0, 0): pq.read_table(path) for name, path in paths.items()}
    return compare(tables, list(dict.fromkeys(pairs)), labels, sources.clip, sources.intervals, floors)


def _rows(sources: Sources, details: Mapping[str, Any], floors: Mapping[str, Any], found: Comparison) -> list[Row]:
    names = start_names(sources.photos_source, sources.imagenet)
    rows = []
    for name, part in details.items():
        entry = sources.variants[name]
        pretrained = pretrained_on([sources.cnns[cnn] for cnn in entry["cnns"]], names)
        rows.append(variant_row(name, entry, read_card(sources.heads[name], "head"), part["test"], pretrained))
    rows += [floor_row(name, figures) for name, figures in floors["floors"].items()]
    if sources.reference not in sources.skipped:
        for i, row in enumerate(rows):
            if row.name != sources.reference:
                e = contrast_of(found, row.name, sources.reference).estimate
                rows[i] = replace(row, difference=e.value, difference_low=e.low, difference_high=e.high)
    return rows + [cnn_row(name, read_card(path, "cnn")) for name, path in sources.tuned.items()]


def _arms(found: Comparison, arms: list[Group]) -> list[dict[str, Any]]:
    """Groups of arms for the template: of each its arms' figures and its contrasts."""
    shown = []
    for group in arms:
        rows = [
            {"arm": arm, "variant": variant, **{m: found.row(variant, m) for m in ("weighted_log_loss", "auc_any")}}
            for arm, variant in group.arms.items()
        ]
        contrasts = [(group.name_of(pair), contrast_of(found, *pair)) for pair in group.contrasts]
        shown.append({**asdict(group), "share": group.share, "rows": rows, "found": contrasts})
    return shown


def _sheets(sources: Sources) -> list[tuple[str, str]]:
    sheets = [
        ("CT: up to 64 slices, spread over all of them; three windows as red, green and blue", sources.ct),
        ("Photos: up to 64", sources.photos),
        ("The same photos, translated", sources.translated),
    ]
    return [(caption, data_uri(place / "contact.png")) for caption, place in sheets if place]


def _translator(sources: Sources) -> dict[str, Any]:
    """Last sample grid, audit figures and pictures."""
    samples = sorted(
        (sources.gan or Path("-")).glob("samples-*.png"), key=lambda path: int("0" + re.sub(r"\D", "", path.stem))
    )
    pictures = sorted((sources.audit or Path("-")).glob("*.png"))
    return {
        "samples": [(f"after {int(re.sub(r'[^0-9]', '', p.stem) or 0):,} images", data_uri(p)) for p in samples[-1:]],
        "metrics": _json(sources.audit / "metrics.json") if sources.audit else {},
        "audit": _lines(_json(sources.audit / "audit.json")) if sources.audit else [],
        "pictures": [(path.stem.replace("-", " ").replace("_", " "), data_uri(path)) for path in pictures],
    }


def _lines(found: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested record as (dotted name, figure); long lists (histograms) are left to their pictures."""
    if isinstance(found, Mapping):
        return [
            line for key, value in found.items() for line in _lines(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(found, list):
        short = len(found) <= 4 and all(isinstance(value, int | float) for value in found)
        return [(prefix, " … ".join(number(value) for value in found))] if short and found else []
    figure = found is None or (isinstance(found, int | float) and not isinstance(found, bool))
    return [(prefix, number(found) if figure else str(found))]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
