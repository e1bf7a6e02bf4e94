"""Table 1: variants beside the paper's rows, then the floors, then what each CNN loses from train to val.

`Row` is a line of `table1.csv`; its field names are the header. None is 'n/a' (an empty cell).
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from settings.errors import BadParameter
from settings.loader import nearest


class PaperRow(NamedTuple):
    """A row of the paper's table: validation, single runs, another split.

    The paper prints no costs. `parameters` and `flops` (of the head, for one slice) are counted by `vit.head.head_cost`
    on a head of its sizes: 12 layers, latent 1456; and one token a position of the maps. None: it states no patch.
    """

    input: str
    accuracy: float  # 0 … 1
    loss: float
    parameters: int | None
    flops: int | None


PAPER = {
    "ViT": PaperRow("256×256×3", 0.9433, 0.1822, None, None),
    "1-CNN-ViT (GAN)": PaperRow("7×7×1024", 0.9695, 0.08272, 309_197_622, 30_852_168_256),
    "2-CNN-ViT (ImageNet/GAN)": PaperRow("7×7×2048", 0.9746, 0.07754, 310_688_566, 30_998_280_768),
    "3-CNN-ViT (ImageNet/ImageNet/GAN)": PaperRow("7×7×3072", 0.9804, 0.07050, 312_179_510, 31_144_393_280),
    "2-CNN-ViT small (ImageNet/GAN)": PaperRow("7×7×256", 0.9758, 0.07903, 308_341_814, 30_768_273_984),
}


@dataclass(frozen=True)
class Row:
    """One line. Losses in nats, accuracies and AUCs 0 … 1; variants and floors on test."""

    kind: Literal["variant", "floor", "cnn"]
    name: str
    pretrained_on: str = ""  # of its CNNs, in words
    input: str = ""  # what the encoder reads, height×width×channels
    encoder: str = ""
    parameters: int | None = None  # of the head
    flops: int | None = None  # of the head, for one slice; two a multiply-add
    cnn_parameters: int | None = None  # of its CNNs up to their maps, each distinct one counted once
    cnn_flops: int | None = None
    weighted_log_loss: float | None = None
    equal_log_loss: float | None = None
    mean_accuracy: float | None = None
    mean_auc: float | None = None
    auc_any: float | None = None
    weighted_log_loss_low: float | None = None  # ends of the interval over patients; one seed
    weighted_log_loss_high: float | None = None
    auc_any_low: float | None = None
    auc_any_high: float | None = None
    difference: float | None = None  # of the weighted log loss to the reference's, paired by patient; one seed
    difference_low: float | None = None
    difference_high: float | None = None
    positive_patients: int | None = None  # of `any`, on test
    train_weighted_log_loss: float | None = None  # CNNs only
    val_weighted_log_loss: float | None = None
    paper: str = ""
    paper_accuracy: float | None = None
    paper_loss: float | None = None
    paper_parameters: int | None = None  # of the head, as PaperRow counts them
    paper_flops: int | None = None


def data_sentence(ct: str, photos: str, runs: int = 1) -> str:
    """What the data were and what they can prove; stands above every table.

    `ct`: prepare_ct.source ("phantom", "folder"), `photos`: prepare_photos.source ("drawn", "folder"); `runs`: of the
    graph, that the table is drawn from.
    """
    slices = {"phantom": "drawn phantoms (no patient's CT)", "folder": "real CT slices from the user's folder"}[ct]
    pictures = {"drawn": "photos drawn by a program", "folder": "real photos from the user's folder"}[photos]
    what = f"Data: {slices}; {pictures}."
    if ct == "phantom":
        return f"{what} They test the machinery and prove nothing about CT."
    if photos == "drawn":
        return f"{what} Drawn photos stand for ImageNet: nothing is proved about ImageNet pretraining."
    return (
        what if runs > 1 else f"{what} One split, one seed: no difference between rows is shown to be more than chance."
    )


def start_names(photos: str, imagenet: bool) -> dict[str, str]:
    """What a CNN's `start` stands for in this run. `photos`: prepare_photos.source; `imagenet`: a file is named."""
    corpus = "drawn photos" if photos == "drawn" else "photos"
    return {"imagenet": "ImageNet" if imagenet else corpus, "gan-pretrain": f"translated {corpus}", "random": "nothing"}


def pretrained_on(cnns: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """`drawn photos → CT, translated drawn photos`: the corpora of a variant's CNNs, in order."""
    words, then = [], {"ct": " → CT", "batchnorm": " → CT's statistics", "nothing": ""}
    for cnn in cnns:
        start = "a weights file" if isinstance(cnn["start"], Mapping) else names.get(cnn["start"], cnn["start"])
        words.append(f"{start}{then[cnn['trained_on']]}")
    return ", ".join(f"{count} × {word}" if count > 1 else word for word, count in Counter(words).items())


def variant_row(
    name: str, entry: Mapping[str, Any], card: Mapping[str, Any], test: Mapping[str, Any], pretrained: str
) -> Row:
    """`entry`: variants.<name>; `card`: of its head; `test`: the part of its details.json; `pretrained_on` its CNNs.

    `entry["paper"]` (optional) names the row of the paper's table that it stands beside; BadParameter if there is none.
    """
    paper = entry.get("paper") or ""
    if paper and paper not in PAPER:
        raise BadParameter(f"variants.{name}.paper: the paper has no row '{paper}'{nearest(paper, list(PAPER))}")
    row = PAPER.get(paper)
    return Row(
        "variant",
        name,
        pretrained_on=pretrained,
        input=head_input(card),
        encoder=f"{entry['encoder']}, slices in context" if entry.get("context") else str(entry["encoder"]),
        **{key: card[key] for key in ("parameters", "flops", "cnn_parameters", "cnn_flops")},
        **_figures(test),
        paper=paper,
        paper_accuracy=row.accuracy if row else None,
        paper_loss=row.loss if row else None,
        paper_parameters=row.parameters if row else None,
        paper_flops=row.flops if row else None,
    )


def floor_row(name: str, figures: Mapping[str, Any]) -> Row:
    """A floor of floors.json."""
    return Row("floor", name, **_figures(figures))


def cnn_row(name: str, card: Mapping[str, Any]) -> Row:
    """The gap of a CNN that was fitted on CT: a head trained on the CNN's own train slices would be misled by it."""
    return Row(
        "cnn",
        name,
        train_weighted_log_loss=card.get("train_weighted_log_loss"),
        val_weighted_log_loss=card.get("val_weighted_log_loss"),
    )


def head_input(card: Mapping[str, Any]) -> str:
    """`6×6×2048`: what the encoder reads, from a head's card (`grid` [h, w], `channels`)."""
    height, width = card["grid"]
    return f"{height}×{width}×{card['channels']}"


def _figures(part: Mapping[str, Any]) -> dict[str, Any]:
    names = ("weighted_log_loss", "equal_log_loss", "mean_accuracy", "mean_auc", "auc_any")
    positive = part["labels"].get("any", {}).get("positive_patients")
    ends = {
        f"{name}_{end}": part.get("intervals", {}).get(name, {}).get(end)
        for name in ("weighted_log_loss", "auc_any")
        for end in ("low", "high")
    }
    return {**{name: part[name] for name in names}, **ends, "positive_patients": positive}


def write_table(path: Path, rows: list[Row]) -> None:
    """`table1.csv`; figures with six decimals."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row).items()
            writer.writerow({k: "" if v is None else f"{v:.6f}" if isinstance(v, float) else v for k, v in values})
