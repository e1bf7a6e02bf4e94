import csv
import math
from pathlib import Path

import numpy as np
import pytest

from corpus.card import read_card
from ct.dicom import Refused, read_header, read_slice
from ct.labels import LABELS, read_labels
from ct.phantom import Series, draw_series, make, planned
from ct.phantom_dicom import identity
from ct.phantom_parameters import PhantomCt
from settings.errors import BadParameter
from settings.loader import read_section

SHARES = {
    "epidural": 0.26,
    "intraparenchymal": 0.27,
    "intraventricular": 0.26,
    "subarachnoid": 0.27,
    "subdural": 0.27,
}
DECLARED = {
    "seed": 3,
    "patients": 6,
    "slices": 2,
    "slice_mm": 5,
    "any_share": 0.6,
    "subtype_shares": SHARES,
    "easy_share": 0.65,
    "mimic_share": 0.9,
    "tilt": 22,
    "noise": 3.1,
    "cupping": 14,
    "signed_share": 0.5,
    "model_side": 96,
    "truncated": 1,
}


def parameters(**changed: object) -> PhantomCt:
    return read_section(PhantomCt, {**DECLARED, **changed}, "phantom_ct")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    make(parameters(), folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def positives() -> list[Series]:
    """Series with a bleed: the first two patients of each subtype, so that each is seen in more than one form."""
    p = parameters(slices=5, truncated=0)
    plans = {patient: planned(p, patient) for patient in range(40)}
    chosen = {who for name in LABELS[:-1] for who in [i for i, plan in plans.items() if name in plan][:2]}
    return [draw_series(p, patient) for patient in sorted(chosen)]


def test_the_layout_is_the_competitions(made: Path) -> None:
    files = {path.stem for path in (made / "stage_2_train").iterdir()}
    with (made / "stage_2_train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ID", "Label"] and len(files) == 6 * 2 + 1
    assert [row[0].rsplit("_", 1)[1] for row in rows[1:7]] == list(LABELS)
    assert {row[0].rsplit("_", 1)[0] for row in rows[1:]} == files
    table, report = read_labels((made / "stage_2_train.csv").read_bytes(), hashed=False)
    assert report["labelled"] == len(files) and not report["any_differs"] and not report["incomplete_slices"]
    card = read_card(made, "dicom")
    assert card["positive_slices"] == {name: sum(table.column(name).to_pylist()) for name in LABELS}
    assert (card["slices"], card["patients"]) == (13, 6) and (made / "contact.png").stat().st_size > 0


def test_every_file_is_read_but_the_truncated_one(made: Path) -> None:
    refused = []
    for path in sorted((made / "stage_2_train").iterdir()):
        header = read_header(path)
        assert header.id == path.stem
        try:
            hu = read_slice(path.read_bytes()).hu()
        except Refused as reason:
            refused.append((path.stem, reason.rule))
            continue
        assert hu.min() <= -990 and 900 < hu.max() < 2000 and hu.shape == (512, 512)
    assert refused == [(identity(3, 0, 2).slice, "truncated")]


def test_slices_of_a_series_lie_at_equal_steps(made: Path) -> None:
    for patient in range(1, 6):
        pose = draw_series(parameters(slices=1, truncated=0), patient).pose
        lower, upper = (
            read_header(made / "stage_2_train" / f"{identity(3, patient, number).slice}.dcm") for number in range(2)
        )
        assert lower.series == upper.series and lower.patient == upper.patient
        assert 5 * math.cos(math.radians(22)) - 0.01 < upper.position - lower.position < 5.01
        assert 0 <= pose.tilt <= math.radians(22)


def test_processes_and_number_of_patients_change_nothing(made: Path, tmp_path: Path) -> None:
    make(parameters(patients=2), tmp_path, workers=2)
    files = sorted((tmp_path / "stage_2_train").iterdir())
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (made / "stage_2_train" / path.name).read_bytes()


def test_another_seed_gives_other_patients() -> None:
    one, other = (draw_series(parameters(seed=seed, slices=1), 1) for seed in (3, 4))
    assert one.head != other.head and identity(3, 1, 0) != identity(4, 1, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_are_met(seed: int) -> None:
    plans = [planned(parameters(seed=seed), patient) for patient in range(100)]
    assert sum(map(bool, plans)) == 60
    for name, share in SHARES.items():
        assert abs(sum(name in plan for plan in plans) / 100 - share) <= 0.03
    both, parenchymal = (
        sum(names <= set(plan) for plan in plans)
        for names in ({"intraparenchymal", "intraventricular"}, {"intraparenchymal"})
    )
    assert both / parenchymal > 0.27  # more often together than the share of all series


def test_what_is_planned_is_seen(positives: list[Series]) -> None:
    missing = sum(
        not any(labels[LABELS.index(bleed.label)] for labels in series.labels)
        for series in positives
        for bleed in series.bleeds
    )
    assert missing <= 1
    assert all(labels[-1] == max(labels[:-1]) for series in positives for labels in series.labels)


def test_blood_is_where_its_name_says(positives: list[Series]) -> None:
    """Against what the head frame says of the same pixels, independent of how the bleed was painted."""
    from ct.phantom_head import Points, ventricles, walls

    seen = set()
    for series in positives:
        for number, painted in enumerate(series.painted):
            coarse = series.pose.points(number)
            p = Points(*(v[1, :-1, :-1] for v in coarse))
            depth, inside = walls(series.head, p).depth, ventricles(series.head, p)
            for label, mask in painted.masks.items():
                here = mask[::4, ::4]
                if here.sum() < 5:
                    continue
                seen.add(label)
                assert depth[here].min() > -1.5, label  # never in bone or outside the skull
                assert painted.hu[mask].max() < 500
                if label == "intraventricular" and not series.head.shift[0]:
                    assert inside[here].min() > -2
                if label == "epidural" and not any(b.label != label for b in series.bleeds):
                    assert depth[here].min() < 4  # it touches the skull
    assert seen == set(LABELS[:-1])


def test_blood_is_no_brighter_than_blood(positives: list[Series]) -> None:
    for series in positives:
        for bleed in series.bleeds:
            assert 15 <= bleed.hu <= 75 and bleed.other_hu <= 72
        calm = [p.hu[mask] for p in series.painted for mask in p.masks.values() if mask.sum() > 200]
        for values in calm:
            assert np.median(values) < 85


def test_left_of_the_patient_is_right_in_the_picture(positives: list[Series]) -> None:
    found = 0
    for series in positives:
        for bleed in series.bleeds:
            if bleed.place in ("convexity", "lens"):
                for painted in series.painted:
                    columns = np.nonzero(painted.masks[bleed.label])[1]
                    if len(columns) > 50:
                        assert (columns.mean() > 256) == (bleed.at[0] > 0)
                        found += 1
    assert found


def test_a_bleed_spans_the_slices_that_it_reaches(positives: list[Series]) -> None:
    for series in positives:
        for column in range(5):
            slices = np.flatnonzero([labels[column] for labels in series.labels])
            if len(slices) and LABELS[column] in ("intraparenchymal", "epidural"):
                assert len(slices) == slices[-1] - slices[0] + 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"any_share": 0.2}, r"subtype_shares.intraparenchymal: 0.27 is above any_share"),
        ({"subtype_shares": dict.fromkeys(SHARES, 0.1)}, "any_share: 0.6 is above the sum"),
        ({"truncated": 7}, "at most one a patient"),
        ({"slice": 4}, "did you mean 'slices'"),
    ],
)
def test_parameters_that_cannot_be(changed: dict[str, object], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        parameters(**changed)
