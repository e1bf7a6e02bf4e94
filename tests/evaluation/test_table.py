import csv
from pathlib import Path

import pytest

from evaluation.table import (
    PAPER,
    cnn_row,
    data_sentence,
    floor_row,
    pretrained_on,
    start_names,
    variant_row,
    write_table,
)
from settings.errors import BadParameter
from tests.evaluation.made import CNNS, VARIANTS

CARD = {
    "grid": [7, 7],
    "channels": 2048,
    "parameters": 308_500_000,
    "flops": 30_000_000_000,
    "cnn_parameters": 0,
    "cnn_flops": 0,
}
TEST = {
    "weighted_log_loss": 0.08, "equal_log_loss": 0.07, "mean_accuracy": 0.97, "mean_auc": None, "auc_any": 0.9,
    "labels": {"any": {"positive_patients": 12}}, "intervals": {"weighted_log_loss": {"low": 0.07, "high": 0.09}},
}  # fmt: skip


def test_a_variant_stands_beside_the_papers_row(tmp_path: Path) -> None:
    row = variant_row("2-cnn", VARIANTS["2-cnn"], CARD, TEST, "photos")
    assert (row.input, row.paper_accuracy, row.paper_loss) == ("7×7×2048", 0.9746, 0.07754)
    assert (row.paper_parameters, row.paper_flops) == (310_688_566, 30_998_280_768)
    other = variant_row("same-file-2", VARIANTS["same-file-2"], CARD, TEST, "")
    assert other.paper == "" and other.paper_loss is other.paper_parameters is None
    write_table(tmp_path / "table1.csv", [row, other, floor_row("always-no", TEST)])
    with (tmp_path / "table1.csv").open(newline="", encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    assert first["weighted_log_loss"] == "0.080000" and first["mean_auc"] == "" and first["parameters"] == "308500000"
    assert (first["weighted_log_loss_low"], first["weighted_log_loss_high"]) == ("0.070000", "0.090000")
    assert first["auc_any_low"] == ""  # n/a for want of patients
    assert second["paper_loss"] == "" and third["kind"] == "floor" and third["positive_patients"] == "12"


def test_an_unknown_row_of_the_paper_is_named() -> None:
    with pytest.raises(BadParameter, match=r"variants\.x\.paper.*did you mean '1-CNN-ViT \(GAN\)'"):
        variant_row("x", {**VARIANTS["vit"], "paper": "1-CNN-ViT GAN"}, CARD, TEST, "")


def test_rows_are_named_for_what_their_cnns_saw() -> None:
    drawn, real = start_names("drawn", imagenet=False), start_names("folder", imagenet=True)
    three = [CNNS[name] for name in ("imagenet-a", "imagenet-b", "gan")]
    assert pretrained_on(three, drawn) == "2 × drawn photos → CT, translated drawn photos"
    assert pretrained_on(three, real) == "2 × ImageNet → CT, translated photos"
    assert pretrained_on([], real) == ""
    assert pretrained_on([{"start": {"file": "x"}, "trained_on": "nothing"}], real) == "a weights file"
    arms = [{"start": "grey", "trained_on": "ct"}, {"start": "imagenet", "trained_on": "batchnorm"}]
    assert pretrained_on(arms, real) == "grey → CT, ImageNet → CT's statistics"


def test_the_papers_rows() -> None:
    assert [round(row.accuracy * 100, 2) for row in PAPER.values()] == [94.33, 96.95, 97.46, 98.04, 97.58]
    assert {entry["paper"] for entry in VARIANTS.values()} >= set(PAPER)


def test_the_costs_of_the_papers_heads_by_hand() -> None:
    """49 tokens and the class token through 12 layers of width 1456, MLP ratio 4; then a hidden layer, six answers."""
    d, tokens, layers = 1456, 50, 12
    norms = layers * 2 * 2 * d + 2 * d
    linear = layers * (4 * d * d + 2 * 4 * d * d)
    biases = layers * (4 * d + 4 * d + d)
    attention = layers * 2 * 2 * tokens * tokens * d  # two a multiply-add; q·k and weights·v
    for row in PAPER.values():
        if row.parameters is None:
            assert row.flops is None and row.input == "256×256×3"
            continue
        channels = int(row.input.split("×")[2])
        maps = 8 * channels if channels == 256 else 0  # 1×1 convolution of each of two maps, 1024 to 128
        projected = 2 * (1024 * 128 + 128) if maps else 0
        embedding, ends = channels * d + d, d + tokens * d  # class token, places
        answers = d * d + d + d * 6 + 6
        assert row.parameters == projected + embedding + ends + linear + biases + norms + answers
        work = projected and 2 * 49 * 2 * 1024 * 128
        work += 2 * (49 * channels * d + tokens * linear + d * d + d * 6) + attention
        assert row.flops == work


def test_the_gap_of_a_cnn() -> None:
    row = cnn_row("a", {"train_weighted_log_loss": 0.1, "val_weighted_log_loss": 0.3})
    assert (row.kind, row.train_weighted_log_loss, row.val_weighted_log_loss) == ("cnn", 0.1, 0.3)


@pytest.mark.parametrize(
    ("ct", "photos", "words"),
    [("phantom", "drawn", "prove nothing about CT"), ("phantom", "folder", "prove nothing about CT"),
     ("folder", "drawn", "nothing is proved about ImageNet"), ("folder", "folder", "more than chance")],
)  # fmt: skip
def test_the_sentence_says_what_the_data_can_prove(ct: str, photos: str, words: str) -> None:
    assert words in data_sentence(ct, photos)
