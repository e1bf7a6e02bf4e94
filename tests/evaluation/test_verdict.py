from dataclasses import replace

import numpy as np
import pytest

from evaluation.arms import Group
from evaluation.compare import Comparison, Run, compare
from evaluation.intervals import Estimate
from evaluation.parameters import Intervals
from evaluation.pointing import Pointing
from evaluation.scores import Scores
from evaluation.verdict import Grounds, sentences
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import made_scores, table_of

INTERVALS = Intervals(replicates=200, confidence=0.95, seed=0)
FLOORS = ("prevalences", "slice-position")
PAIRS = [(name, floor) for name in ("good", "twin", "blind") for floor in FLOORS] + [("good", "twin")]
ARMS = Group("fine-tuned", "vit", 1, {"translated": "good", "original": "twin"}, ())


def with_logits(scores: Scores, logits: np.ndarray) -> Scores:
    return replace(scores, logits=np.broadcast_to(logits, scores.truth.shape).astype(float))


def compared(patients: int = 40) -> Comparison:
    """Two heads that see bleeds, one that sees nothing, and two floors of which the second is the lower."""
    good = made_scores(0, patients, 6, skill=3)
    shares = good.truth.mean(axis=0).clip(0.02, 0.98)
    twin = replace(good, logits=good.logits + np.random.default_rng(1).normal(0, 0.3, good.logits.shape))
    blind = with_logits(good, np.random.default_rng(2).normal(0, 1, good.truth.shape))
    tables = {
        "good": good, "twin": twin, "blind": blind, "prevalences": with_logits(good, np.log(shares / (1 - shares))),
        "slice-position": replace(good, logits=0.2 * good.logits + np.log(shares / (1 - shares))),
    }  # fmt: skip
    return compare({Run(n, 0, 0): table_of(("test", s)) for n, s in tables.items()}, PAIRS, LABELS, 1e-15, INTERVALS,
                   FLOORS)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compared()


def test_it_says_what_is_above_the_floors_and_claims_nothing_of_one_seed(found: Comparison) -> None:
    words = " ".join(sentences(Grounds(found, [], FLOORS, "good", None, {"tiny": "too few patients"})))
    assert "240 slices of 40 patients" in words and "Intervals are of 95%" in words
    assert "2 of the 3 heads as trained here are below answering with the train part's prevalences" in words
    assert "explains: good, twin." in words and "the strongest floor, slice position (" in words
    assert "nothing on this page says whether translating helps" in words
    assert "no row is claimed to be better than another" in words
    assert "Not run: tiny (too few patients)." in words and "blood" not in words


def test_arms_are_told_with_their_interval_and_no_claim(found: Comparison) -> None:
    words = " ".join(sentences(Grounds(found, [ARMS], FLOORS, "good", None, {})))
    contrast = next(c for c in found.contrasts if (c.variant, c.baseline) == ("good", "twin"))
    figure = f"{contrast.estimate.value:+.4f}".replace("-", "−")
    assert (
        f"translated − original (CNN fine-tuned on CT, vit head, 100% of its half of the train patients): {figure}"
        in words
    )
    assert "no difference is claimed" in words and f"{contrast.smallest_detectable:.4f} would mostly" in words
    assert "Not run" not in words


def test_a_head_that_sees_nothing_is_not_above_the_floor(found: Comparison) -> None:
    rows = [row for row in found.rows if row.variant not in ("good", "twin")]
    words = " ".join(sentences(Grounds(replace(found, rows=rows), [], FLOORS, "blind", None, {})))
    assert "None of the 1 heads" in words


def test_few_patients_make_no_statement() -> None:
    words = " ".join(sentences(Grounds(compared(9), [], FLOORS, "good", None, {})))
    assert "9 patients are too few to say which heads are below prevalences" in words


@pytest.mark.parametrize(("low", "said"), [(0.1, "40%: more often"), (-0.1, "40%: not shown to be more often")])
def test_whether_it_looks_at_the_blood(found: Comparison, low: float, said: str) -> None:
    def share(value: float, low: float = 0.3) -> Estimate:
        return Estimate(value, low, 0.9, 0.1, None, 11, 0.95, (value,))

    game = Pointing("good", "any", 20, 12, "6×6", share(0.6), share(0.4), share(0), share(0), share(0.2, low))
    assert said in " ".join(sentences(Grounds(found, [], FLOORS, "good", game, {})))
    few = Pointing("good", "any", 3, 2, "6×6", None, None, None, None, None)
    assert "2 patients with a bleed are too few" in " ".join(sentences(Grounds(found, [], FLOORS, "good", few, {})))
