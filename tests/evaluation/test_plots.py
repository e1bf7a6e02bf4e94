import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.compare import CurvePoint
from evaluation.intervals import Estimate
from evaluation.lesions import SizeRow
from evaluation.plots import Dot, DotPanel, Interval, dots, label_fractions, point, sizes, write_points
from tests.evaluation.made import CNNS, VARIANTS

TEST = {"weighted_log_loss": 0.2, "mean_accuracy": 0.9, "mean_auc": 0.8}


def test_what_the_cnns_of_a_variant_share() -> None:
    found = {name: point(name, entry, CNNS, TEST) for name, entry in VARIANTS.items()}
    assert {name: (p.cnns, p.pretraining, p.pair, p.projected) for name, p in found.items()} == {
        "vit": (0, "no CNN", "", False),
        "gan-1": (1, "GAN", "", False),
        "imagenet-1": (1, "ImageNet", "", False),
        "2-cnn": (2, "ImageNet + GAN", "", False),
        "3-cnn": (3, "ImageNet + GAN", "", False),
        "2-cnn-small": (2, "ImageNet + GAN", "", True),
        "same-file-2": (2, "ImageNet", "same file", False),
        "same-recipe-2": (2, "ImageNet", "same recipe", False),
    }
    random = point("x", {"cnns": ["r"]}, {"r": {"start": "random", "seed": 0}}, TEST)
    assert random.pretraining == "other"


def test_points_are_written(tmp_path: Path) -> None:
    points = [
        point(name, entry, CNNS, {**TEST, "mean_auc": None if name == "vit" else 0.8})
        for name, entry in VARIANTS.items()
    ]
    write_points(tmp_path / "figure2.csv", points)
    with (tmp_path / "figure2.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(VARIANTS) and rows[0]["mean_auc"] == ""


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are written from now on, as they were when they were."""
    found: list[Any] = []

    def keep(figure: Any, path: Path, dpi: int) -> None:
        figure.savefig(path, dpi=dpi)
        found.append(figure)

    monkeypatch.setattr("evaluation.plots.save", keep)
    return found


def test_names_of_dots_do_not_overlap_where_heads_do_not_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = drawn(monkeypatch)
    alike = [Dot(f"head-{n}", "GAN", n % 2 == 0, [Interval(0.5, 0.4, 0.6), None]) for n in range(30)]
    floors = [Dot("prevalences", "floor", False, [Interval(0.52), Interval(0.5)])]
    panels = [DotPanel("loss", 0.52, "prevalences"), DotPanel("AUC", 0.5, "chance")]
    dots(tmp_path / "a.png", [alike, floors], panels, {"GAN": "translated photos"}, "data", 60)
    (figure,) = figures
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == [dot.name for dot in (*alike, *floors)]
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert len([text for text in figure.axes[1].texts if text.get_text() == "n/a"]) == len(alike)


def test_label_fractions_have_a_line_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn(monkeypatch)
    found = Estimate(0.5, 0.4, 0.7, 0.05, None, 9, 0.95, (0.5,))
    points = [CurvePoint(arm, share, found) for arm in ("original", "translated") for share in (0.1, 1.0)]
    label_fractions(tmp_path / "a.png", {"frozen": points, "fine-tuned": points[:2]}, "loss", 0.52, "data", 60)
    (figure,) = figures
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["10", "100"]
    assert len(figure.axes[0].containers) == 2
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()
    assert bars[0][:, 1].tolist() == pytest.approx([0.4, 0.7])


def test_a_size_without_an_auc_has_its_n_and_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = drawn(monkeypatch)
    rows = [SizeRow("head", "any", 0, 60, 7, 3, None), SizeRow("head", "any", 60, float("inf"), 40, 12, 0.8)]
    sizes(tmp_path / "a.png", rows, "data", 60)
    (axis, *_) = figures[0].axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["< 60\nn=7 / 3", "≥ 60\nn=40 / 12"]
    assert np.isnan(axis.lines[0].get_ydata()).tolist() == [True, False]
