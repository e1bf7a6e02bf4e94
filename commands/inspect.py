"""`pipeline.py inspect PATH`: what an artifact is, what it holds and where it came from."""

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from commands.inspect_ct import inspect_slices
from corpus.card import read_card
from corpus.contact_sheet import contact_sheet
from corpus.shards import Shards
from settings.errors import BadArtifact
from settings.places import ROOT, work_root

console = Console(soft_wrap=True)


def inspect(path: Path) -> None:
    """Print card, files, columns and provenance of an artifact, and write a contact sheet where there are images.

    Nothing is written into the artifact: it may be a hard link into DVC's cache.
    """
    if path.suffix == ".parquet" and path.is_file():
        _show_table(path)
    elif path.is_dir():
        _show_folder(path)
    else:
        raise BadArtifact(f"{path}: is no artifact folder and no .parquet file; see artifacts/")
    _show_provenance(path)


def _show_folder(path: Path) -> None:
    card = read_card(path)
    table = Table("", title=f"{path.name}: {card['kind']}", show_header=False, title_justify="left")
    for key, value in card.items():
        text = json.dumps(value, ensure_ascii=False)
        table.add_row(key, text if len(text) < 200 else f"{text[:200]} …")
    files = [file for file in path.rglob("*") if file.is_file()]
    table.add_row("on disk", f"{len(files)} files, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB")
    console.print(table)
    if (path / "index.parquet").exists():
        _show_table(path / "index.parquet")
    if list(path.glob("images-*.npy")):
        _show_images(path)
    if "header_kinds" in card:
        inspect_slices(path, _picture(path), console)


def _show_images(path: Path) -> None:
    shards = Shards(path)
    rows = sorted({round(i * (len(shards) - 1) / 143) for i in range(144)})
    pixels = shards.read(rows)
    console.print(f"{len(shards)} images {shards.row_shape} {shards.dtype}; of {len(rows)} spread over them: "
                  f"min {pixels.min()}, mean {pixels.mean():.1f}, max {pixels.max()}")  # fmt: skip
    target = _picture(path)
    target = target.with_name(f"{target.name}.png")
    contact_sheet(pixels, columns=12, cell=96).save(target)
    console.print(f"contact sheet: {target}")


def _picture(path: Path) -> Path:
    """Where pictures of an artifact go, without their suffix: never into it."""
    target = work_root() / "inspect" / "-".join(path.resolve().parts[-2:])
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _show_table(path: Path) -> None:
    data = pq.read_table(path)
    table = Table(
        "column",
        "type",
        "distinct",
        "smallest",
        "largest",
        title=f"{path.name}: {data.num_rows} rows",
        title_justify="left",
    )
    for name in data.column_names:
        column = data[name]
        extremes: dict[str, Any] = pc.min_max(column).as_py() if data.num_rows else {"min": None, "max": None}
        table.add_row(
            name, str(column.type), str(pc.count_distinct(column)), str(extremes["min"]), str(extremes["max"])
        )
    console.print(table)


def _show_provenance(path: Path) -> None:
    for file in sorted((ROOT / "artifacts/provenance").glob("*.json")):
        record = json.loads(file.read_text())
        if _made(record["stage"], path):
            console.print(f"made by {record['stage']}, fingerprint {record['fingerprint']}")
            console.print("parameters:", json.dumps(record["parameters"], ensure_ascii=False))
            for name in ("computing", "adopted"):
                if name in record:
                    console.print(f"{name}:", json.dumps(record[name], ensure_ascii=False))
            console.print(
                "inputs:", ", ".join(f"{name} {digest[:8]}" for name, digest in record["inputs"].items()) or "none"
            )
            console.print("versions:", ", ".join(f"{name} {number}" for name, number in record["versions"].items()))
            return
    console.print("provenance: none found (the artifact was not made in this checkout, or its record is not pulled)")


def _made(stage: str, path: Path) -> bool:
    from settings.loader import load_yaml
    from stages.graph import declarations

    declaration = declarations(load_yaml(ROOT / "params.yaml")).get(stage)
    return declaration is not None and any((ROOT / out).resolve() == path.resolve() for out in declaration.outs)
