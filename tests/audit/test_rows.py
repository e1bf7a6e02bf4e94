from dataclasses import replace
from typing import Any

import numpy as np

from audit.measure import Measured
from audit.page import summary
from audit.probe import CONDITIONS
from audit.rows import Row, figure, headline, rows

ANCHORS = {"photos": 0.95, "grey": 0.9, "grey_windowed": 0.85, "grey_squeezed": 0.7, "permuted": 0.1}


def hits(share: float, n: int = 200) -> np.ndarray:
    return np.stack([np.arange(n) < share * n] * 3)


def interval(value: float, key: str = "share") -> dict[str, Any]:
    return {key: value, "low": value - 0.05, "high": value + 0.05, "n": 200, "patients": 30}


def measured(ours: float, kid: float = 0.1, patients: int = 30) -> Measured:
    shares = {**ANCHORS, "translated": ours}
    near = {"grey_windowed": interval(0.5, "kid"), "translated": interval(kid, "kid")}
    spread = {"median": 4.0, "largest": 9.0, "patients": 5}
    hu = {
        "translated": {"distance": 6.0, "low": 4.0, "high": 8.0, "between_patients": spread},
        "grey_windowed": {"distance": 40.0, "low": 36.0, "high": 44.0, "between_patients": spread},
    }
    residual = {"residual": 0.0, "low": 0.0, "high": 0.0, "wrong": 0.0}
    figures = {
        "probe": {"chance": 0.1, **{c: {form: interval(share) for form, share in shares.items()} for c in CONDITIONS}},
        "retrieval": {"chance": 0.005, "cells_8": {form: interval(share) for form, share in shares.items()}},
        "kid": {
            "crops": {"kinds": near, "ct": interval(0.1, "kid"), "patients": patients, "descriptive": patients < 20}
        },
        "hounsfield": {"all": hu, "brain": hu},
        "consistency": {"translated": residual, "photos": {**residual, "residual": 50.0}, "by_construction": True},
        "diversity": {"ratio": 1.2, "low": 1.1, "high": 1.3},
        "agreement": {**{form: interval(share) for form, share in shares.items()}, "chance": 0.1},
    }
    by_form = {form: hits(share) for form, share in shares.items()}
    flat = {form: each[0] for form, each in by_form.items()}
    return Measured(figures, dict.fromkeys(CONDITIONS, by_form), flat, flat)


def by_key(found: Measured) -> dict[str, Row]:
    return {row.key: row for row in rows(found, 0.95)}


def test_a_translator_between_floor_and_ceiling() -> None:
    found = by_key(measured(0.5))
    for key in ("retrieval_8", "probe_clean", "probe_jpeg", "agreement"):
        assert found[key].verdict == "better than its floor, worse than its ceiling"
    assert found["probe_clean"].value == 50 and found["probe_clean"].floor[1] == 10
    assert found["kid_crops"].verdict.startswith("better than its floor, not distinguishable from its ceiling")
    assert (
        found["hu_all"].verdict == "better than its floor, better than its ceiling; within the spread between patients"
    )
    assert "worse than its ceiling" in by_key(measured(0.5, kid=0.4))["kid_crops"].verdict
    assert [row.key for row in rows(measured(0.5), 0.95) if not row.core] == ["agreement"]


def test_a_translator_that_tells_nothing() -> None:
    found = by_key(measured(0.1))
    assert "not distinguishable from its floor" in found["probe_clean"].verdict
    lines = summary(list(found.values()))
    assert lines[0].startswith("No better than what is had for nothing: ") and "probe trained on" in lines[0]


def test_few_patients_are_only_described() -> None:
    assert by_key(measured(0.5, patients=4))["kid_crops"].verdict.startswith("descriptive below 20 patients (4 here): ")


def test_a_worse_form_is_not_called_better_by_an_unlike_ceiling() -> None:
    assert by_key(measured(0.85))["probe_clean"].verdict.endswith(
        "not distinguishable from its ceiling at this sample size"
    )


def test_what_cannot_be_had_is_said() -> None:
    found = measured(0.5)
    found.figures["hounsfield"] = None
    row = by_key(found)["hu_all"]
    assert figure(row) == "n/a" and row.verdict.startswith("n/a: three free channels")
    assert summary([row])[0].startswith("Not to be had: ")


def test_figures_as_printed() -> None:
    row = by_key(measured(0.5))["probe_clean"]
    assert figure(row) == "50.0 % (45.0 to 55.0)"
    assert figure(replace(row, value=100.0, low=98.2)) == "100.0 % (98.2 to 55.0)"
    assert set(headline(rows(measured(0.5), 0.95))) == {"retrieval_8", "probe_clean", "probe_jpeg", "kid_crops"}
