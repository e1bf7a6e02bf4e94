import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.backbone import main


def test_all_figures_at_a_tiny_size(tmp_path: Path) -> None:
    size = ["--architecture", "test_resnet", "--side", "32", "--batch", "8", "--quick", "--device", "cpu"]
    out = tmp_path / "backbone.json"
    done = CliRunner().invoke(main, [*size, "--precision", "fp32", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(out.read_text())
    kinds = ["timm, as ours computes", "timm, fp32 contiguous"]
    assert list(found["step_ratios"]) == list(found["whole_ratios"]) == kinds
    for name in kinds:
        assert 0.01 < found["step_ratios"][name] < 100
    assert 0 <= found["waiting"] < 1 and 0 < found["share_of_limit"] < 1 and found["images_per_second"] > 0
