import json
from pathlib import Path
from typing import Any

import pytest

from commands import plan_scale
from commands.plan_scale import RSNA_IMAGENET, asked, machine_of, print_scale
from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.machine import processor_name
from settings.places import ROOT
from stages.scale import Counts, Load

COMPUTING = {"torch_device": "cpu", "precision": "fp32", "ranks": 2}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages in place of the graph's."""

    def loads(params: dict[str, Any], counts: Counts, ranks: int) -> list[Load]:
        work = counts.slices * 10.0
        return [
            Load("prepare-ct", "prepare-ct", "pixels", work, "a", 5_000_000_000),
            Load("gan-train", "gan-train", "FLOP", work, str(params["gan_train"]["side"]), 7, work / ranks),
            Load("vit-train@mean", "vit-train", "FLOP", 0, "", 0),
            Load("control-corpus@grey", "control-corpus grey", "pixels", work, "a", 0),
            Load("report", "report", "runs", 1, "", 0),
        ]

    monkeypatch.setattr(plan_scale, "loads", loads)


def provenance(artifacts: Path, stage: str, **record: Any) -> None:
    (artifacts / "provenance").mkdir(parents=True, exist_ok=True)
    record = {"stage": stage, "revision": "r", "parameters": {}, "processor": processor_name(), **record}
    (artifacts / f"provenance/{stage}.json").write_text(json.dumps(record))


@pytest.mark.usefixtures("few")
def test_rates_are_read_from_the_provenance_of_what_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = load_yaml(ROOT / "profiles/demo.yaml")
    with pytest.raises(BadParameter, match="no stage with networks has run here"):
        machine_of(params, Counts(100, 0, 0), tmp_path)
    provenance(tmp_path, "prepare-ct", seconds=2.0, parameters={"prepare_ct": params["prepare_ct"]})
    provenance(tmp_path, "gan-train", seconds=30.0, memory_mb=900, computing=COMPUTING)
    provenance(tmp_path, "vit-train@mean", seconds=10.0, memory_mb=500, computing=COMPUTING)
    provenance(tmp_path, "control-corpus@grey", seconds=4.0, memory_mb=600, computing=COMPUTING)
    provenance(tmp_path, "gan-audit", computing=COMPUTING)  # of a version that noted no seconds
    provenance(tmp_path, "report", seconds=1, parameters={"seed": 0, "report": {"dpi": 7}})  # not the demo's
    provenance(tmp_path, "split-ct", seconds=1, processor="of a colleague")
    provenance(tmp_path, "vit-train@vit", seconds=3.0, memory_mb=400, computing=COMPUTING | {"precision": "bf16"})
    machine = machine_of(params, Counts(100, 0, 0), tmp_path)
    assert [one.stage for one in machine.stages] == ["prepare-ct", "gan-train", "vit-train@mean", "control-corpus@grey"]
    assert "with other parameters: report, split-ct, vit-train@vit" in capsys.readouterr().out
    assert (machine.start_s, machine.start_mb, machine.devices, machine.device) == (10, 500, 2, "cpu")
    (tmp_path / "machine.json").write_text(json.dumps(machine.model_dump()))
    print_scale("demo", tmp_path / "machine.json")
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert lines["prepare-ct"] == ["25.6", "s", "5.00", "measured"], "12.8 times the slices"
    assert lines["gan-train"] == ["4.4", "min", "0.00", "5.6", "0.15", "measured"], (
        "10 + 12.8 * 20 s; 0.5 + 12.8 * 0.4 GB"
    )
    assert lines["control-corpus@grey"][:2] == ["9.1", "s"], "4 + 12.8 * 0.4 s: no start is longer than the run"
    assert lines["report"] == ["?", "unknown"]
    assert lines["nothing"][-1] == "report"


@pytest.mark.usefixtures("few")
def test_a_skipped_training_gives_no_rate(tmp_path: Path) -> None:
    provenance(tmp_path, "gan-train", seconds=0.2)
    provenance(tmp_path, "vit-train@vit", seconds=10.0, computing=COMPUTING)
    assert machine_of(load_yaml(ROOT / "profiles/demo.yaml"), Counts(9, 0, 0), tmp_path).stages == ()


def test_scales_are_profiles_files_and_the_papers_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, counts = asked("rsna-imagenet")
    assert params == load_yaml(ROOT / "profiles/paper.yaml") and counts == RSNA_IMAGENET
    (tmp_path / "mine.yaml").write_text(
        (ROOT / "profiles/demo.yaml").read_text().replace("patients: 160", "patients: 7")
    )
    assert asked(str(tmp_path / "mine.yaml"))[1] == Counts(56, 450, 150)
    with pytest.raises(BadParameter, match=r"'nowhere' is no file and none of rsna-imagenet, .*demo"):
        asked("nowhere")
    monkeypatch.setattr(plan_scale, "ROOT", tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/paper.yaml").write_text((ROOT / "profiles/paper.yaml").read_text())
    with pytest.raises(
        BadParameter, match=r"reads folders, and data/ct.csv is missing; run `python pipeline.py manifest`"
    ):
        asked("paper")
    (tmp_path / "data").mkdir()
    for name, count in (("ct", 7), ("photos", 8)):
        (tmp_path / f"data/{name}.csv").write_text("id\n" + "x\n" * count)
    assert asked("paper")[1] == Counts(7, 6, 2)
    with pytest.raises(BadParameter, match=r"--machine: there is no .*run `python pipeline.py plan --measure`"):
        print_scale("demo", tmp_path / "none.json")


def test_without_a_measurement_the_projects_rates_are_taken_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    if (ROOT / plan_scale.OWN).is_file():
        pytest.skip("this checkout has rates of its own")
    print_scale("demo", None)
    out = capsys.readouterr().out
    assert "by the rates in benchmarks/results/machine.json" in out and "extrapolated" in out
    assert all(line.endswith("measured") for line in out.splitlines() if line.startswith("vit-train@"))
