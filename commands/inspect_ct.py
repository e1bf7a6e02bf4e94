"""`inspect` on slices that prepare-ct wrote: headers, rejects, split, Hounsfield units, and slices of each label."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image
from rich.console import Console
from rich.table import Table

from commands.slices import Split, read_split
from corpus.contact_sheet import contact_sheet
from corpus.images import Images
from corpus.windows import dequantise
from ct.labels import LABELS
from settings.places import ROOT

PICTURED = ("train", "val")  # the test part's slices are counted here, not looked at
COLUMNS = 8
SAMPLE = 256  # slices of the histogram


def inspect_slices(folder: Path, pictures: Path, console: Console) -> None:
    """Print what the slices are and where they went; write a montage by label and a histogram as `pictures`-….png."""
    images = Images(folder, "windows", "hu")
    _print_headers(images, console)
    _print_rejects(folder / "rejects.csv", console)
    split = read_split(ROOT / "artifacts/split")
    _print_split(images, split, console)
    if sheet := _montage(images, split):
        path = pictures.with_name(f"{pictures.name}-labels.png")
        sheet.save(path)
        console.print(f"slices by label ({' and '.join(PICTURED)}, first window): {path}")
    if images.card["kind"] == "hu":
        _hounsfield(images, pictures.with_name(f"{pictures.name}-hu.png"), console)


def _print_headers(images: Images, console: Console) -> None:
    for title, counts in (
        ("slices by kind of header", images.card.get("header_kinds", {})),
        ("slices with a warning", images.card.get("warnings", {})),
        ("odd series (series.csv)", images.card.get("odd_series", {})),
    ):
        _print_counts(title, counts, console)


def _print_rejects(path: Path, console: Console) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    _print_counts("files refused, by rule", dict(Counter(row["rule"] for row in rows).most_common()), console)
    reasons = Counter((row["rule"], row["reason"]) for row in rows)
    for (rule, reason), count in reasons.most_common(10):
        console.print(f"  {count:,} × {rule}: {reason}", highlight=False, markup=False)


def _print_counts(title: str, counts: dict[str, int], console: Console) -> None:
    if not counts:
        console.print(f"{title}: none")
        return
    table = Table("", "", title=title, show_header=False, title_justify="left")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    console.print(table)


def _print_split(images: Images, split: Split, console: Console) -> None:
    if split.parts is None:
        console.print("split: none yet (dvc repro split-ct)")
        return
    here = images.index["id"]
    parts = split.parts.filter(pc.is_in(split.parts["id"], value_set=here.combine_chunks()))
    table = Table(
        "part",
        "patients",
        "slices",
        *LABELS,
        title="split; positive patients/slices of each label",
        title_justify="left",
    )
    for part in parts["part"].unique().to_pylist():
        rows = parts.filter(pc.equal(parts["part"], part))
        known = split.labels.get(part)
        cells = ["no label"] * len(LABELS)
        if known is not None:
            joined = known.join(rows.select(["id", "patient"]), "id", join_type="inner")
            positive = [joined.filter(pc.cast(joined[name], "bool")) for name in LABELS]
            cells = [f"{len(found['patient'].unique())}/{found.num_rows}" for found in positive]
        table.add_row(part, f"{len(rows['patient'].unique()):,}", f"{rows.num_rows:,}", *cells)
    console.print(table)


def _montage(images: Images, split: Split) -> Image.Image | None:
    """A row of slices for each label and one without any, of as many patients as there are; None without labels."""
    patients = dict(zip(images.column("id"), images.column("patient"), strict=True))
    labelled: list[dict[str, Any]] = [
        {**row, "patient": patients[row["id"]]}
        for part in PICTURED
        if part in split.labels
        for row in split.labels[part].to_pylist()
        if row["id"] in patients
    ]
    chosen: list[tuple[str, dict[str, Any]]] = []
    for name in (*LABELS[:-1], "none"):
        found = [row for row in labelled if (row[name] if name != "none" else not row["any"])]
        chosen += [(name, row) for row in _of_many_patients(found, COLUMNS)]
    if not chosen:
        return None
    pixels = images.read_windows(images.rows_of(row["id"] for _, row in chosen))[..., 0]
    captions = [f"{name[:9]} {row['patient']}" for name, row in chosen]
    lines: list[npt.NDArray[np.uint8]] = []
    texts: list[str] = []
    for name in (*LABELS[:-1], "none"):  # a label with fewer slices leaves the rest of its row black
        own = [number for number, (label, _) in enumerate(chosen) if label == name]
        blank = np.zeros((COLUMNS - len(own), *pixels.shape[1:]), np.uint8)
        lines.append(np.concatenate([pixels[own], blank]))
        texts += [captions[number] for number in own] + [""] * len(blank)
    return contact_sheet(np.concatenate(lines), texts, columns=COLUMNS, cell=160)


def _of_many_patients(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` rows: one of each patient, in the middle of the patient's, then a second of each …"""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        of.setdefault(row["patient"], []).append(row)
    turns = [(turn, patient) for patient, own in of.items() for turn in range(len(own))]
    return [of[patient][len(of[patient]) // 2 - turn] for turn, patient in sorted(turns)[:count]]


def _hounsfield(images: Images, path: Path, console: Console) -> None:
    import matplotlib.pyplot as plt

    rows = np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(np.int64))
    counts = np.bincount(images.shards.read(rows).ravel(), minlength=256)
    low, high = images.card["hu_range"]
    hu = dequantise(np.arange(256.0), low, high)
    inside = np.cumsum(counts[1:-1]) / max(counts[1:-1].sum(), 1)
    at = [hu[1 + int(np.searchsorted(inside, share))] for share in (0.05, 0.5, 0.95)]
    console.print(
        f"Hounsfield units of {len(rows)} slices: {counts[0] / counts.sum():.0%} at or below {low:g}, "
        f"{counts[-1] / counts.sum():.0%} at or above {high:g}; between: 5/50/95 % {at[0]:.0f}/{at[1]:.0f}/{at[2]:.0f}"
    )
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.bar(hu[1:-1], counts[1:-1] / counts.sum(), width=(high - low) / 255)
    axes.set(xlabel="HU", ylabel="share of all pixels", title=f"{images.folder.name}: {len(rows)} slices")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    console.print(f"histogram: {path}")
