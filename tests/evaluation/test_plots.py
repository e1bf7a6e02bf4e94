import csv
from pathlib import Path

from PIL import Image

from evaluation.plots import curves, figure2, figures_by_images, point, read_curve, write_points
from tests.evaluation.made import CNNS, VARIANTS, write_curves

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


def test_figure_2_is_written_twice_alike(tmp_path: Path) -> None:
    points = [
        point(name, entry, CNNS, {**TEST, "mean_auc": None if name == "vit" else 0.8})
        for name, entry in VARIANTS.items()
    ]
    write_points(tmp_path / "figure2.csv", points)
    with (tmp_path / "figure2.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == list(VARIANTS) and rows[0]["mean_auc"] == ""
    for name in ("a.png", "b.png"):
        figure2(tmp_path / name, points, {"imagenet": "photos", "gan-pretrain": "translated photos"}, 0.25, "data", 60)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_curves(tmp_path: Path) -> None:
    write_curves(tmp_path, ["loss"], ["weighted_log_loss", "top1"])
    assert list(read_curve(tmp_path / "validation.csv")) == ["images", "weighted_log_loss", "top1"]
    (tmp_path / "empty.csv").write_text("images\n")
    assert read_curve(tmp_path / "empty.csv") == {}
    curves(tmp_path / "curves.png", {f"t{n}": tmp_path for n in range(5)}, 60)
    figures_by_images(tmp_path / "gan.png", tmp_path, 60)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > image.height > 0
