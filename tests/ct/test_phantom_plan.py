import numpy as np
import pyarrow as pa
import pytest

from ct.labels import LABELS
from ct.parameters import SplitCt
from ct.phantom_parameters import PhantomCt
from ct.phantom_plan import planned, spread
from ct.split import split
from settings.loader import load_yaml, read_section
from settings.places import ROOT
from tests.ct.phantoms import SHARES, phantom_parameters


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_are_met(seed: int) -> None:
    plans = [planned(phantom_parameters(seed=seed), patient) for patient in range(100)]
    assert sum(map(bool, plans)) == 60
    for name, share in SHARES.items():
        assert abs(sum(name in plan for plan in plans) / 100 - share) <= 0.03


# P(column | row) of the competition's slices, epidural to subdural.
ON_THE_SLICE = {
    ("intraparenchymal", "intraventricular"): 0.30, ("intraparenchymal", "subarachnoid"): 0.25,
    ("intraparenchymal", "subdural"): 0.17, ("intraventricular", "intraparenchymal"): 0.42,
    ("intraventricular", "subarachnoid"): 0.33, ("intraventricular", "subdural"): 0.12,
    ("subarachnoid", "intraparenchymal"): 0.25, ("subarachnoid", "intraventricular"): 0.24,
    ("subarachnoid", "subdural"): 0.24, ("subdural", "subarachnoid"): 0.21, ("subdural", "intraparenchymal"): 0.15,
    ("subdural", "intraventricular"): 0.08, ("epidural", "subdural"): 0.19, ("epidural", "intraparenchymal"): 0.15,
    ("epidural", "subarachnoid"): 0.13,
}  # fmt: skip


def test_bleeds_go_together_as_in_the_competition() -> None:
    """Of 2,000 patients. A patient's bleeds share most slices, not all, so patients have more in common than slices;
    ventricles are on few slices, so that what goes with blood in them must be there in more patients still.
    """
    plans = [set(planned(phantom_parameters(), patient)) for patient in range(2000)]
    for (one, other), share in ON_THE_SLICE.items():
        found = sum({one, other} <= plan for plan in plans) / sum(one in plan for plan in plans)
        assert share - 0.03 < found < share + (0.4 if "intraventricular" in (one, other) else 0.1), (one, other)
    sizes = np.bincount([len(plan) for plan in plans], minlength=6)[1:] / 1200
    assert sizes.tolist() == pytest.approx([0.53, 0.31, 0.14, 0.02, 0], abs=0.04)


def test_every_positive_patient_has_a_bleed_whatever_the_shares() -> None:
    shares = {**dict.fromkeys(SHARES, 0.12), "epidural": 0.05}
    p = phantom_parameters(any_share=0.5, subtype_shares=shares)
    plans = [planned(p, patient) for patient in range(200)]
    assert sum(map(bool, plans)) == 100
    for name, share in shares.items():
        assert abs(sum(name in plan for plan in plans) / 200 - share) <= 0.03


def test_bleeds_are_sought_all_over_the_slices() -> None:
    rng = np.random.default_rng(0)
    labels = ["intraparenchymal", "intraventricular", "subdural"]
    found = [spread(rng, labels, (-40.0, 50.0)) for _ in range(200)]
    for ranges in found:
        assert min(low for low, _ in ranges.values()) == -40 and max(high for _, high in ranges.values()) == 50
        assert all(high - low >= 30 for low, high in ranges.values())
        assert ranges["intraventricular"][0] < 18  # ventricles end at 26
    assert len({ranges["subdural"] for ranges in found}) == 3


def test_a_lone_bleed_and_a_thin_stack_have_all_heights() -> None:
    rng = np.random.default_rng(0)
    assert spread(rng, ["epidural"], (-3.0, 8.0)) == {"epidural": (-3.0, 8.0)}
    assert set(spread(rng, ["epidural", "subdural"], (1.0, 4.0)).values()) == {(1.0, 4.0)}
    assert spread(rng, [], (1.0, 4.0)) == {}


def test_the_demos_test_part_has_ten_positive_patients_of_each_label() -> None:
    """By the demo's own split; planned bleeds, of which one in a hundred is too faint on every slice to be labelled."""
    demo = load_yaml(ROOT / "profiles/demo.yaml")
    p = read_section(PhantomCt, demo["phantom_ct"], "phantom_ct")
    plans = {f"p{patient:04d}": planned(p, patient) for patient in range(p.patients)}
    names = list(plans)
    index = pa.table({"id": names, "patient": names, "pixels": [""] * len(names), "linked": names})
    columns = {name: pa.array([int(name in plan) for plan in plans.values()], pa.uint8()) for name in LABELS[:-1]}
    some = pa.array([int(bool(plan)) for plan in plans.values()], pa.uint8())
    labels = pa.table({"id": list(plans), **columns, "any": some})
    result = split(index, labels, read_section(SplitCt, demo["split_ct"], "split_ct"))
    for name in LABELS:
        assert sum(result.labels["test"].column(name).to_pylist()) >= 10, name
