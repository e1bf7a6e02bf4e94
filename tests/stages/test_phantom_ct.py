from pathlib import Path

import pyarrow.parquet as pq
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
    "bleeds": {
        "radius_mm": {
            "epidural": 22,
            "intraparenchymal": 12,
            "intraventricular": 26,
            "subarachnoid": 22,
            "subdural": 27,
        },
        "radius_log_sd": 0.5,
        "ages": {"acute": 0.6, "mixed": 0.2, "subacute": 0.1, "chronic": 0.1},
    },
    "mimic_share": 0.9,
    "tilt": 22,
    "noise": 3.1,
    "cupping": 14,
    "model_side": 96,
    "kinds": dict.fromkeys(("implicit", "explicit", "high_intercept", "padded", "decimal"), 0.2),
    "oddities": {
        "truncated": 1,
        "glitch": 0,
        "other_size": 0,
        "duplicate_positions": 1,
        "metal": 0,
        "duplicate_rows": 1,
    },
}


def job(root: Path, section: dict[str, object]) -> Job:
    outs = frozenset({"artifacts/phantom", "artifacts/phantom-masks"})
    for out in outs:
        (root / f"artifacts/.{out.removeprefix('artifacts/')}.part").mkdir(parents=True)
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
    assert len(list((folder / "stage_2_train").glob("ID_*.dcm"))) == 4
    assert read_card(folder, "dicom")["oddities"]["truncated"] == 1
    assert "phantom-ct: 4 slices of 2 patients; positive: epidural" in capsys.readouterr().out
    masks = root / "artifacts/.phantom-masks.part"
    assert {path.name for path in masks.iterdir()} == {"lesions.parquet", "card.json"}
    assert read_card(masks, "lesions")["count"] == pq.read_metadata(masks / "lesions.parquet").num_rows


def test_a_mistyped_parameter_is_named(root: Path) -> None:
    with pytest.raises(BadParameter, match=r"phantom_ct\.noize: unknown parameter; did you mean 'noise'"):
        phantom_ct.run(job(root, {**SECTION, "noize": 3}))
