import json
from pathlib import Path

import numpy as np
import pytest

from corpus.card import write_card
from evaluation.prior import Calibration, calibrated, read_calibration
from settings.errors import BadArtifact, BadParameter

LABELS = ["subdural", "any"]
HEAD = "ab" * 32


def details(folder: Path, **changed: object) -> Path:
    folder.mkdir()
    found = {label: {"calibration": {"temperature": t}} for label, t in zip(LABELS, (2.0, 0.5), strict=True)}
    val = {"slices": 50, "labels": {"subdural": {"positive_slices": 5}, "any": {"positive_slices": 20}}}
    content = {"val": val, "levels": {"slices": {"labels": found}}, **changed}
    (folder / "details.json").write_text(json.dumps(content))
    write_card(folder, "evaluation", head=HEAD)
    return folder


def test_an_evaluation_says_temperatures_and_prevalences_in_the_order_asked_for(tmp_path: Path) -> None:
    folder = details(tmp_path / "two")
    assert read_calibration(folder, LABELS, HEAD) == (("subdural", "any"), (2.0, 0.5), (0.1, 0.4))
    assert read_calibration(folder, LABELS[::-1], HEAD)[1:] == ((0.5, 2.0), (0.4, 0.1))
    with pytest.raises(BadArtifact, match=r"run `dvc repro evaluate@none`"):
        read_calibration(tmp_path / "none", LABELS, HEAD)
    with pytest.raises(BadArtifact, match=r"has no 'levels'|has no 'slices'"):
        read_calibration(details(tmp_path / "old", levels={}), LABELS, HEAD)
    (folder / "details.json").write_text("{")
    with pytest.raises(BadArtifact, match="damaged"):
        read_calibration(folder, LABELS, HEAD)


def test_a_calibration_of_another_head_is_refused(tmp_path: Path) -> None:
    folder = details(tmp_path / "two")
    with pytest.raises(BadArtifact, match="two: is of another head two than is here; run `dvc repro`"):
        read_calibration(folder, LABELS, "cd" * 32)
    write_card(folder, "evaluation")  # as it was before cards said so
    with pytest.raises(BadArtifact, match="is of another head"):
        read_calibration(folder, LABELS, HEAD)


def test_bayes_gives_the_same_for_a_label_whose_findings_look_alike_everywhere() -> None:
    """Scores that are exact log odds at 40 % (likelihood ratio times prior odds) become exact ones at 10 %."""
    ratio = np.array([0.01, 0.5, 1.0, 30.0])  # p(seen | bleed) / p(seen | none)
    logits = np.log(ratio * 0.4 / 0.6)[:, None] * 0.5  # and the temperature is 0.5
    found = calibrated(logits, Calibration(("any",), (0.5,), (0.4,)), 0.1)
    expected = ratio * 0.1 / (ratio * 0.1 + 0.9)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12)


def test_a_subtype_keeps_its_share_of_any() -> None:
    """10 % of slices within 40 % with any become 2.5 % within 10 %; the prior itself moves exactly there."""
    calibration = Calibration(("subdural", "any"), (1.0, 1.0), (0.1, 0.4))
    prior = np.log(np.array([[0.1 / 0.9, 0.4 / 0.6]]))
    np.testing.assert_allclose(calibrated(prior, calibration, 0.1), [[0.025, 0.1]], rtol=1e-12)
    np.testing.assert_allclose(calibrated(prior, calibration, 0.4), calibrated(prior, calibration), rtol=1e-12)


def test_a_label_that_val_did_not_have_moves_by_the_limit() -> None:
    logits = np.array([[-3.0, 0.2]])
    near, limit = (calibrated(logits, Calibration(("epidural", "any"), (1.0, 1.0), (p, 0.4)), 0.1) for p in (1e-9, 0.0))
    np.testing.assert_allclose(limit, near, rtol=1e-6)
    assert limit[0, 0] == pytest.approx(1 / (1 + np.exp(3 + np.log(4))))
    with pytest.raises(BadParameter, match="odds cannot be moved"):
        calibrated(logits, Calibration(("epidural", "any"), (1.0, 1.0), (0.0, 0.0)), 0.1)
