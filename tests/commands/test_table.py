import subprocess
import sys
from pathlib import Path

import pytest

from commands.table import show_table
from corpus.card import write_card
from evaluation.table import floor_row, variant_row, write_table
from settings.errors import BadArtifact
from tests.commands.untouched import untouched
from tests.evaluation.made import VARIANTS
from tests.evaluation.test_table import CARD, TEST

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_card(tmp_path, "report", data="Data: phantoms.")
    rows = [variant_row("2-cnn", VARIANTS["2-cnn"], CARD, TEST, "photos → CT"), floor_row("always-no", TEST)]
    write_table(tmp_path / "table1.csv", rows)
    with untouched(tmp_path):
        show_table(tmp_path)
    shown = capsys.readouterr().out
    assert shown.index("Data: phantoms.") < shown.index("2-cnn") < shown.index("always-no") < shown.index("report.html")
    assert "photos → CT" in shown and "7×7×2048" in shown and "0.0800" in shown and "97.46%" in shown and "n/a" in shown


def test_no_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="dvc repro"):
        show_table(tmp_path)


def test_it_imports_little() -> None:
    heavy = ("numpy", "torch", "pyarrow", "matplotlib", "pydantic")
    code = f"import sys, commands.table; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
