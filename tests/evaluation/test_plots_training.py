from pathlib import Path

from PIL import Image

from evaluation.plots_training import curves, figures_by_images, read_curve
from tests.evaluation.made import write_curves


def test_curves(tmp_path: Path) -> None:
    write_curves(tmp_path, ["loss"], ["weighted_log_loss", "top1"])
    assert list(read_curve(tmp_path / "validation.csv")) == ["images", "weighted_log_loss", "top1"]
    (tmp_path / "empty.csv").write_text("images\n")
    assert read_curve(tmp_path / "empty.csv") == {}
    curves(tmp_path / "curves.png", {f"t{n}": tmp_path for n in range(5)}, 60)
    figures_by_images(tmp_path / "gan.png", tmp_path, 60)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > image.height > 0
