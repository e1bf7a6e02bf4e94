"""`pipeline.py table`: Table 1 of the last report. Imports little: it ends `make demo`, also when nothing ran."""

import csv
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.card import read_card
from settings.errors import BadArtifact

VARIANT = {  # column of table1.csv: (heading, format)
    "name": ("", "{}"),
    "pretrained_on": ("CNNs trained on", "{}"),
    "input": ("ViT input", "{}"),
    "parameters": ("parameters", "{:,.0f}"),
    "weighted_log_loss": ("log loss", "{:.4f}"),
    "mean_accuracy": ("accuracy", "{:.2%}"),
    "mean_auc": ("mean AUC", "{:.3f}"),
    "auc_any": ("AUC any", "{:.3f}"),
    "paper_loss": ("paper's loss", "{:.4f}"),
    "paper_accuracy": ("paper's acc.", "{:.2%}"),
}
TEXT = ("name", "pretrained_on", "input")


def show_table(folder: Path) -> None:
    """Print what the data were, Table 1 and the path of the page; BadArtifact when there is no report."""
    path = folder / "table1.csv"
    if not path.is_file():
        raise BadArtifact(f"{path}: missing; run `dvc repro` first")
    card = read_card(folder, "report")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    console = Console(width=200, soft_wrap=True, highlight=False)  # a narrow terminal wraps lines, it cuts no figures
    console.print(f"\n[bold]{card['data']}[/bold]\n")
    table = Table(
        title="Table 1: test part; log loss as the competition weights it",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for column, (heading, _) in VARIANT.items():
        table.add_column(heading, justify="left" if column in TEXT else "right", no_wrap=True)
    kind = "variant"
    for row in rows:
        if row["kind"] == "cnn":
            continue
        if row["kind"] != kind:
            table.add_section()
            table.add_row()
            kind = row["kind"]
        table.add_row(*(_cell(row, column) for column in VARIANT))
    console.print(table)
    for row in rows:
        if row["kind"] == "cnn":
            train, val = (_cell(row, f"{part}_weighted_log_loss") for part in ("train", "val"))
            console.print(f"CNN {row['name']}: weighted log loss on the slices it was fitted on {train}, on val {val}")
    console.print(f"\nreport: {folder / 'report.html'}")


def _cell(row: dict[str, str], column: str) -> str:
    form = VARIANT.get(column, ("", "{:.4f}"))[1]
    value = row[column]
    if not value:
        return "" if column in TEXT or column.startswith("paper") or column == "parameters" else "n/a"
    return value if column in TEXT else form.format(float(value))
