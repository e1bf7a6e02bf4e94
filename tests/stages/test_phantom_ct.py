from pathlib import Path

import pytest

from corpus.card import read_card
from settings.errors import BadParameter
from settings.places import Local
from stages import phantom_ct, run
from stages.run import Job

SECTION = {
    "seed": 0,
    "patients": 2,
    "slices": 1,
    "slice_mm": 5,
    "any_share": 0.6,
    "subtype_shares": dict.fromkeys(
        ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"), 0.3
    ),
    "easy_share": 0.7,
    "mimic_share": 0.9,
    "tilt": 22,
    "noise": 3.1,
    "cupping": 14,
    "signed_share": 0.5,
    "model_side": 96,
    "truncated": 1,
}


def job(root: Path, section: dict[str, object]) -> Job:
    (root / "artifacts/.phantom.part").mkdir(parents=True)
    outs = frozenset({"artifacts/phantom"})
    return Job("phantom-ct", {"phantom_ct": section}, root / "work", Local(workers=1), frozenset(), outs)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    return tmp_path


def test_it_writes_its_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phantom_ct.run(job(root, SECTION))
    folder = root / "artifacts/.phantom.part"
    assert {path.name for path in folder.iterdir()} == {
        "stage_2_train",
        "stage_2_train.csv",
        "contact.png",
        "card.json",
    }
    assert len(list((folder / "stage_2_train").glob("ID_*.dcm"))) == 3
    assert read_card(folder, "dicom")["truncated"] == 1
    assert "phantom-ct: 3 slices of 2 patients; positive: epidural" in capsys.readouterr().out


def test_a_mistyped_parameter_is_named(root: Path) -> None:
    with pytest.raises(BadParameter, match=r"phantom_ct\.noize: unknown parameter; did you mean 'noise'"):
        phantom_ct.run(job(root, {**SECTION, "noize": 3}))
