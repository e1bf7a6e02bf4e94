from pathlib import Path
from typing import Any

from audit.probe import CONDITIONS
from benchmarks.translator_cells import table, trade_off


def share(value: float) -> dict[str, float]:
    return {"share": value, "low": value - 0.1, "high": value + 0.1}


def hounsfield(distance: float | None) -> dict[str, Any]:
    spread = {"median": 1.0, "largest": 7.5, "patients": 3}
    return {part: {"translated": {"distance": distance, "between_patients": spread}} for part in ("all", "brain")}


def test_a_line_for_each_form_and_one_for_ct() -> None:
    both = {"photos": share(0.9), "cell": share(0.5)}
    kid = {"kid": 0.02, "low": 0.01, "high": 0.03}
    tissue = {
        "hounsfield": hounsfield(3.25),
        "consistency": {"translated": {"residual": 0.0}},
        "diversity": {"ratio": 1.1},
    }
    found = {
        "forms": {
            "probe": {key: {**both, "permuted": share(0.1)} for key in CONDITIONS},
            "retrieval": {"cells_8": both},
            "agreement": both,
            "kid": {"crops": {"kinds": {"photos": kid, "cell": kid}, "ct": kid}, "full": {"kinds": {}, "ct": None}},
        },
        "tissue": {"cell": tissue, "free": {**tissue, "hounsfield": None}},
    }
    head, *lines = table(found)
    assert all(len(line) == len(head) for line in lines)
    assert [line[0] for line in lines] == ["photos", "permuted", "cell", "CT, other patients"]
    assert lines[2][1:] == [*["50.0 (40–60)"] * 6, "20.0 (10–30)", "", "3.2", "3.2", "0.00", "1.10"]
    assert lines[3][7:] == ["20.0 (10–30)", "", "≤ 7.5", "≤ 7.5", "0", "1"]
    assert lines[1][5:] == [""] * 8


def test_the_trade_off_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    kid = {"kinds": {key: {"kid": 0.02, "low": 0.01, "high": 0.03} for key in ("photos", "cell")}, "ct": None}
    for name in ("a.png", "b.png"):
        trade_off(tmp_path / name, {"photos": share(0.9), "permuted": share(0.1), "cell": share(0.5)}, kid, ["cell"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
