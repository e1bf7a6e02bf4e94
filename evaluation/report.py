"""The report: one HTML page without network or scripts, Table 1 and Figure 2 as files beside it."""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq
from PIL import Image

from corpus.card import read_card, write_card
from evaluation.lesions import auc_by_size, write_sizes
from evaluation.metrics import FEW
from evaluation.plots import curves, figure2, figures_by_images, point, sizes, write_points
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

WIDEST = 1400  # pixels of a picture on the page


@dataclass(frozen=True)
class Sources:
    """Where everything lies, and the tables of params.yaml. Artifacts that a graph may lack are None."""

    variants: Mapping[str, Mapping[str, Any]]  # params.yaml: variants
    cnns: Mapping[str, Mapping[str, Any]]  # params.yaml: cnns
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


def write_report(folder: Path, sources: Sources, title: str, dpi: int) -> list[Row]:
    """Write report.html, table1.csv, figure2.csv, figure2.png and the card into `folder`; returns the table's rows."""
    details = {name: _json(path / "details.json") for name, path in sources.evaluations.items()}
    floors = _json(sources.floors / "floors.json")
    heads = {name: read_card(path, "head") for name, path in sources.heads.items()}
    names = start_names(sources.photos_source, sources.imagenet)
    rows = []
    for name, part in details.items():
        entry = sources.variants[name]
        pretrained = pretrained_on([sources.cnns[cnn] for cnn in entry["cnns"]], names)
        rows.append(variant_row(name, entry, heads[name], part["test"], pretrained))
    rows += [floor_row(name, figures) for name, figures in floors["floors"].items()]
    rows += [cnn_row(name, read_card(path, "cnn")) for name, path in sources.tuned.items()]
    data = data_sentence(sources.ct_source, sources.photos_source)
    write_table(folder / "table1.csv", rows)
    points = [point(name, sources.variants[name], sources.cnns, part["test"]) for name, part in details.items()]
    write_points(folder / "figure2.csv", points)
    prevalences = floors["floors"]["prevalences"]["weighted_log_loss"]
    figure2(folder / "figure2.png", points, names, prevalences, data, dpi)
    labels = list(floors["test"]["positive_slices"])
    by_size = _by_size(folder, sources, sources.lesions, labels, data, dpi) if sources.lesions else None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "percent": _percent, "thousands": lambda n: f"{n:,}".replace(",", " ")}
    page = environment.get_template("report.html.j2").render(
        title=title,
        data=data,
        proves_nothing=sources.ct_source == "phantom" or sources.photos_source == "drawn",
        rows={kind: [row for row in rows if row.kind == kind] for kind in ("variant", "floor", "cnn")},
        best=min((row for row in rows if row.kind == "variant"), key=lambda row: row.weighted_log_loss or 0),
        prevalences=prevalences,
        paper=PAPER,
        details=details,
        floors=floors,
        few=FEW,
        figure2=_picture(folder / "figure2.png"),
        by_size=by_size,
        flow=_flow(sources, details, floors),
        translator=_translator(sources),
        curves=_curves(folder, sources, dpi),
        provenance=[_json(path) for path in sources.provenance],
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_card(
        folder, "report", data=data, variants=list(details), floors=list(floors["floors"]), cnns=list(sources.tuned)
    )
    return rows


def _by_size(folder: Path, sources: Sources, lesions: Path, labels: list[str], data: str, dpi: int) -> str:
    """AUC by lesion size of every variant, as auc-by-size.csv and a picture."""
    rows = [
        row
        for name, path in sources.evaluations.items()
        for row in auc_by_size(name, path / "scores.parquet", lesions, labels, sources.hashed)
    ]
    write_sizes(folder / "auc-by-size.csv", rows)
    sizes(folder / "auc-by-size.png", rows, data, dpi)
    return _picture(folder / "auc-by-size.png")


def _flow(sources: Sources, details: Mapping[str, Any], floors: Mapping[str, Any]) -> dict[str, Any]:
    """The flow of n: files → rejects → patients → parts, and the positives of each part. Opens no label file."""
    ct, photos = read_card(sources.ct, "hu"), read_card(sources.photos, "photos")
    parts = pq.read_table(sources.parts).to_pylist()
    any_details = next(iter(details.values()))
    labelled = {"train": floors["train"], "val": _counts(any_details["val"]), "test": _counts(any_details["test"])}
    for half in ("cnn", "head"):
        if half in floors["train"]:
            labelled[f"train, {half} half"] = floors["train"][half]
    rows = []
    for name in ("train", "train, cnn half", "train, head half", "val", "test", "hold-out", "unlabelled"):
        part, _, half = name.partition(", ")
        inside = [
            row for row in parts if row["part"] == part and (not half or row["half"] == half.removesuffix(" half"))
        ]
        if inside:
            patients = len({row["patient"] for row in inside})
            rows.append({"name": name, "slices": len(inside), "patients": patients, "labelled": labelled.get(name)})
    split = next((digest for path in sources.provenance for name, digest in _json(path)["inputs"].items()
                  if name.endswith(sources.parts.name)), "")  # fmt: skip
    return {
        "ct": ct,
        "photos": photos,
        "photo_parts": dict(Counter(pq.read_table(sources.photos / "index.parquet").column("part").to_pylist())),
        "rows": rows,
        "labels": list(floors["test"]["positive_slices"]),
        "split": split[:16],
        "sheets": [
            (f"CT: up to 64 of {ct['count']} slices, spread over all of them", _picture(sources.ct / "contact.png")),
            (f"Photos: up to 64 of {photos['count']}", _picture(sources.photos / "contact.png")),
            *(
                [("The same photos, translated", _picture(sources.translated / "contact.png"))]
                if sources.translated
                else []
            ),
        ],
    }


def _counts(part: Mapping[str, Any]) -> dict[str, Any]:
    labels = part["labels"]
    return {"slices": part["slices"], "patients": part["patients"]} | {
        key: {name: label[key] for name, label in labels.items()} for key in ("positive_slices", "positive_patients")
    }


def _translator(sources: Sources) -> dict[str, Any]:
    """Last sample grid, audit figures and pictures."""
    samples = sorted(
        (sources.gan or Path("-")).glob("samples-*.png"), key=lambda path: int("0" + re.sub(r"\D", "", path.stem))
    )
    pictures = sorted((sources.audit or Path("-")).glob("*.png"))
    return {
        "samples": [(f"after {int(re.sub(r'[^0-9]', '', p.stem) or 0):,} images", _picture(p)) for p in samples[-1:]],
        "metrics": _json(sources.audit / "metrics.json") if sources.audit else {},
        "audit": _lines(_json(sources.audit / "audit.json")) if sources.audit else [],
        "pictures": [(path.stem.replace("-", " ").replace("_", " "), _picture(path)) for path in pictures],
    }


def _lines(found: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested record as (dotted name, figure); long lists (histograms) are left to their pictures."""
    if isinstance(found, Mapping):
        return [
            line for key, value in found.items() for line in _lines(value, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(found, list):
        short = len(found) <= 4 and all(isinstance(value, int | float) for value in found)
        return [(prefix, " … ".join(_number(value) for value in found))] if short and found else []
    figure = found is None or (isinstance(found, int | float) and not isinstance(found, bool))
    return [(prefix, _number(found) if figure else str(found))]


def _curves(folder: Path, sources: Sources, dpi: int) -> list[tuple[str, str]]:
    """Curves of every training, as pictures with captions; the files are not kept."""
    trained = {
        "Heads: training loss, and losses on val": dict(sources.heads),
        "CNNs: training loss, and losses on held-out images (corpora) or val (CT)": {
            **{f"pretrained on {name}": path for name, path in sources.pretrained.items()},
            **{f"{name}, on CT": path for name, path in sources.tuned.items()},
        },
    }
    found = []
    path = folder / "curves.png"
    for caption, trainings in trained.items():
        with_curves = {name: place for name, place in trainings.items() if (place / "training.csv").exists()}
        if with_curves:
            curves(path, with_curves, dpi)
            found.append((caption, _picture(path)))
    if sources.gan and (sources.gan / "training.csv").exists():
        figures_by_images(path, sources.gan, dpi)
        found.append(("Translator: losses, and figures watched on fixed train photos", _picture(path)))
    path.unlink(missing_ok=True)
    return found


def _picture(path: Path) -> str:
    """A PNG as a data URI, at most WIDEST pixels wide."""
    with Image.open(path) as image:
        if image.width <= WIDEST:
            content = path.read_bytes()
        else:
            smaller = image.convert("RGB").resize((WIDEST, round(image.height * WIDEST / image.width)))
            buffer = io.BytesIO()
            smaller.save(buffer, "PNG", optimize=True)
            content = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return "n/a"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.2f} %"


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
