import csv
import math
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

from corpus.card import read_card
from corpus.manifest import short_hash
from corpus.masks import unpack_mask
from ct.dicom import Refused, read_slice
from ct.labels import LABELS, read_labels
from ct.phantom import Series, draw_series, make
from ct.phantom_dicom import identity
from ct.phantom_plan import planned
from settings.errors import BadParameter
from tests.ct.phantoms import DECLARED, NONE, SHARES, phantom_parameters


def files_of(folder: Path) -> dict[str, pydicom.FileDataset]:
    """Every file of a made set without its pixels, by the slice's ID; read by pydicom alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `ID_…` is no valid UID
        datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in (folder / "stage_2_train").iterdir()]
        return {str(dataset.SOPInstanceUID): dataset for dataset in datasets}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    (folder / "masks").mkdir()
    make(phantom_parameters(), folder, workers=1, masks=folder / "masks")
    return folder


@pytest.fixture(scope="module")
def positives() -> list[Series]:
    """Series with a bleed: the first two patients of each subtype, so that each is seen in more than one form."""
    p = phantom_parameters(slices=5, oddities=NONE)
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
    table, findings = read_labels((made / "stage_2_train.csv").read_bytes(), hashed=False)
    assert table.num_rows == len(files) and set(findings.column("rule").to_pylist()) == {"duplicate-row"}
    assert [row[0] for row in rows[-12:]] == [row[0] for row in rows[1:13]]  # the first two slices, once more
    card = read_card(made, "dicom")
    assert card["positive_slices"] == {name: sum(table.column(name).to_pylist()) for name in LABELS}
    assert (card["slices"], card["patients"]) == (13, 6) and (made / "contact.png").stat().st_size > 0


def test_every_file_is_read_but_the_truncated_one(made: Path) -> None:
    refused = []
    for path in sorted((made / "stage_2_train").iterdir()):
        try:
            hu = read_slice(path.read_bytes()).hu()
        except Refused as reason:
            refused.append((path.stem, reason.rule))
            continue
        assert hu.min() <= -990 and 900 < hu.max() < 2000 and hu.shape == (512, 512)
    assert refused == [(identity(4, 0, 2).slice, "truncated")]
    assert files_of(made).keys() == {path.stem for path in (made / "stage_2_train").iterdir()}


def test_slices_of_a_series_lie_at_equal_steps(made: Path) -> None:
    files = files_of(made)
    for patient in range(1, 6):
        pose = draw_series(phantom_parameters(slices=1, oddities=NONE), patient).pose
        lower, upper = (files[identity(4, patient, number).slice] for number in range(2))
        assert lower.SeriesInstanceUID == upper.SeriesInstanceUID and lower.PatientID == upper.PatientID
        step = np.subtract(upper.ImagePositionPatient, lower.ImagePositionPatient).astype(float)
        assert step.tolist() == pytest.approx([0, 0, 5], abs=1e-4)  # equal z steps, as a tilted gantry makes them
        assert 0 <= pose.tilt <= math.radians(22)


def test_processes_and_number_of_patients_change_nothing(made: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    make(phantom_parameters(patients=2), tmp_path, workers=2, masks=tmp_path / "masks")
    files = sorted((tmp_path / "stage_2_train").iterdir())
    assert len(files) == 5
    for path in files:
        assert path.read_bytes() == (made / "stage_2_train" / path.name).read_bytes()
    few, all_ = (pq.read_table(folder / "masks/lesions.parquet").to_pylist() for folder in (tmp_path, made))
    assert few == [row for row in all_ if row["id"] in {path.stem for path in files}]


def test_another_seed_gives_other_patients() -> None:
    one, other = (draw_series(phantom_parameters(seed=seed, slices=1), 1) for seed in (4, 5))
    assert one.head != other.head and identity(4, 1, 0) != identity(5, 1, 0)


def test_masks_are_where_blood_was_drawn(made: Path) -> None:
    rows = pq.read_table(made / "masks/lesions.parquet").to_pylist()
    table, _ = read_labels((made / "stage_2_train.csv").read_bytes(), hashed=False)
    labels = {row["id"]: row for row in table.to_pylist()}
    labelled = {(row["id"], row["label"]) for row in rows if row["labelled"]}
    assert labelled == {(id_, name) for id_, row in labels.items() for name in LABELS[:-1] if row[name]}
    spacing = {id_: float(file.PixelSpacing[0]) for id_, file in files_of(made).items()}
    for row in rows:
        mask = unpack_mask(row["mask"], row["rows"], row["columns"])
        assert row["hash"] == short_hash(row["id"]) and mask.shape == (512, 512) and mask.sum() == row["pixels"] > 0
        assert row["area_mm2"] == pytest.approx(row["pixels"] * spacing[row["id"]] ** 2, rel=1e-4)
        assert row["volume_ml"] >= row["area_mm2"] * 5 / 1000 * 0.999
    checked = 0
    for patient in range(1, 6):
        drawn = draw_series(phantom_parameters(), patient)
        ids = {identity(4, patient, number).slice for number in range(2)}
        for name in planned(phantom_parameters(), patient):
            pixels = sum(int(painted.masks[name].sum()) for painted in drawn.painted)
            volumes = [row["volume_ml"] for row in rows if row["id"] in ids and row["label"] == name]
            assert volumes == pytest.approx([pixels * drawn.pose.spacing**2 * 5 / 1000] * len(volumes), rel=1e-5)
            checked += len(volumes)
    assert checked > 5
    assert read_card(made / "masks", "lesions")["count"] == len(rows)


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
        ({"any_share": 0.1}, r"subtype_shares.epidural: 0.2 is above any_share"),
        ({"subtype_shares": dict.fromkeys(SHARES, 0.1)}, "any_share: 0.6 is above the sum"),
        ({"oddities": {**NONE, "truncated": 4, "metal": 3}}, "7 series are to be odd, of 6; at most one a patient"),
        ({"kinds": {**dict.fromkeys(DECLARED["kinds"], 0.2), "padded": 0.1}}, "sum to 0.9; they must sum to 1"),
        ({"slice": 4}, "did you mean 'slices'"),
    ],
)
def test_parameters_that_cannot_be(changed: dict[str, object], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        phantom_parameters(**changed)


def test_a_short_series_above_the_brain_is_drawn() -> None:
    parameters = phantom_parameters(patients=40, slices=2, any_share=1, oddities=NONE)
    assert len(draw_series(parameters, 28).painted) == 2  # its lowest slice is higher than any bleed
