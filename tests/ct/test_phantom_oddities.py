"""Oddities of the phantoms, and that whoever reads them copes."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pydicom
import pytest

from corpus.card import read_card
from ct.dicom import Refused, read_slice
from ct.labels import LABELS, read_labels
from ct.phantom import draw_series, make, scanned
from ct.phantom_dicom import identity
from ct.phantom_oddities import IN_ORDER, REACH, Clip, add_clip, oddity_of, slices_of
from ct.phantom_parameters import Oddities, PhantomCt
from tests.ct.phantoms import DECLARED, phantom_parameters

SEED, SLICES, COUNT = 4, 2, 8
ODD = {"truncated": 1, "glitch": 1, "other_size": 1, "duplicate_positions": 1, "metal": 1, "duplicate_rows": 3}
PATIENTS: dict[str, int] = {name: patient for patient, name in enumerate(IN_ORDER)}  # one of each, in this order


def parameters(**changed: object) -> PhantomCt:
    """All series but the odd ones are stored in one way, so that odd and plain ones can be compared."""
    kinds = {**dict.fromkeys(DECLARED["kinds"], 0), "implicit": 1}
    declared = {"seed": SEED, "patients": COUNT, "slices": SLICES, "kinds": kinds, "oddities": ODD}
    return phantom_parameters(**{**declared, **changed})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same patients, odd and plain."""
    odd, plain = (tmp_path_factory.mktemp(name) for name in ("odd", "plain"))
    (odd / "masks").mkdir()
    make(parameters(), odd, workers=1, masks=odd / "masks")
    make(parameters(patients=5, oddities=dict.fromkeys(ODD, 0)), plain, workers=1)
    return odd, plain


def path_of(folder: Path, oddity: str, file: int) -> Path:
    return folder / "stage_2_train" / f"{identity(SEED, PATIENTS[oddity], file).slice}.dcm"


def dataset_of(path: Path) -> pydicom.FileDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `ID_…` is no valid UID
        return pydicom.dcmread(path)


def hu_of(path: Path) -> np.ndarray:
    return read_slice(path.read_bytes()).hu()


def test_patients_have_one_oddity_each_whatever_comes_after() -> None:
    counts = Oddities(truncated=2, glitch=0, other_size=1, duplicate_positions=1, metal=2, duplicate_rows=9)
    found = [oddity_of(patient, counts) for patient in range(8)]
    assert found == ["truncated", "truncated", "other_size", "duplicate_positions", "metal", "metal", "", ""]
    assert slices_of(4, "") == [0, 1, 2, 3] == slices_of(4, "metal")
    assert slices_of(4, "truncated") == [0, 1, 2, 3, 4] and slices_of(4, "duplicate_positions") == [0, 1, 2, 3, 2]


def test_the_card_counts_them(folders: tuple[Path, Path]) -> None:
    card = read_card(folders[0], "dicom")
    assert card["oddities"] == ODD and card["slices"] == COUNT * SLICES + 2
    assert card["kinds"] == {"decimal": 1, "glitch": 1, "implicit": COUNT - 2}


def test_a_truncated_file_is_refused_and_an_extra(folders: tuple[Path, Path]) -> None:
    odd, plain = folders
    with pytest.raises(Refused) as reason:
        hu_of(path_of(odd, "truncated", SLICES))
    assert reason.value.rule == "truncated" and not path_of(plain, "truncated", SLICES).exists()
    for file in range(SLICES):
        assert path_of(odd, "truncated", file).read_bytes() == path_of(plain, "truncated", file).read_bytes()


def test_a_glitch_is_read_as_if_it_were_not_there(folders: tuple[Path, Path]) -> None:
    """But for what the glitch has clipped: air is -1000 HU at least."""
    for file in range(SLICES):
        stored = dataset_of(path_of(folders[0], "glitch", file))
        assert stored.RescaleIntercept == 0 and np.mean(stored.pixel_array > 3096) > 0.2  # air passes for bone
        odd, plain = (hu_of(path_of(folder, "glitch", file)) for folder in folders)
        assert (odd == plain.clip(-1000)).all()


def test_another_size_is_the_same_head_at_the_same_place(folders: tuple[Path, Path]) -> None:
    for file in range(SLICES):
        odd, plain = (dataset_of(path_of(folder, "other_size", file)) for folder in folders)
        assert (odd.Rows, odd.Columns) == (464, 400)
        assert (odd.pixel_array == plain.pixel_array[24:488, 56:456]).all()
        step = np.array(odd.ImageOrientationPatient, float).reshape(2, 3) * float(odd.PixelSpacing[0])
        moved = np.array(plain.ImagePositionPatient, float) + 56 * step[0] + 24 * step[1]
        assert np.array(odd.ImagePositionPatient, float) == pytest.approx(moved, abs=1e-3)
    rows = pq.read_table(folders[0] / "masks/lesions.parquet").to_pylist()
    ids = {identity(SEED, PATIENTS["other_size"], file).slice for file in range(SLICES)}
    assert {(row["rows"], row["columns"]) for row in rows if row["id"] in ids} == {(464, 400)}


def test_a_slice_that_was_scanned_twice(folders: tuple[Path, Path]) -> None:
    odd = folders[0]
    one, other = (dataset_of(path_of(odd, "duplicate_positions", file)) for file in (SLICES // 2, SLICES))
    assert one.ImagePositionPatient == other.ImagePositionPatient
    assert one.SeriesInstanceUID == other.SeriesInstanceUID and one.SOPInstanceUID != other.SOPInstanceUID
    difference = one.pixel_array.astype(float) - other.pixel_array
    head = hu_of(path_of(odd, "duplicate_positions", SLICES)) > -500
    assert 1 < difference[head].std() < 10 and abs(difference[head].mean()) < 0.5  # other noise, the same head
    table, _ = read_labels((odd / "stage_2_train.csv").read_bytes(), hashed=False)
    labels = {row["id"]: [row[name] for name in LABELS] for row in table.to_pylist()}
    assert labels[one.SOPInstanceUID] == labels[other.SOPInstanceUID]


def test_metal_is_stored_and_leaves_the_rest_of_the_head(folders: tuple[Path, Path]) -> None:
    highest = []
    for file in range(SLICES):
        odd, plain = (hu_of(path_of(folder, "metal", file)) for folder in folders)
        stored = dataset_of(path_of(folders[0], "metal", file))
        assert str(stored.RescaleIntercept) == "-1024.000000" and stored.PixelRepresentation == 1
        highest.append(odd.max())
        bright = np.argwhere(odd > 4000)
        if len(bright):
            y, x = np.indices(odd.shape) - bright.mean(axis=0)[:, None, None]
            away = np.hypot(y, x) * float(stored.PixelSpacing[0])  # mm
            change = np.abs(odd - plain)
            assert 5 < len(bright) < 400 and np.median(change[(away > 30) & (plain > -500)]) < 10
            assert change[(away > 6) & (away < 12)].mean() > 2 * change[(away > 40) & (away < 60)].mean()
    assert 4000 < max(highest) < 27_000


def test_a_clip_is_in_the_slices_it_reaches_alone() -> None:
    pose = draw_series(parameters(slices=1), PATIENTS["metal"]).pose
    clip = Clip(row=250, column=260, height=20, direction=0.3, hu=20_000, rays=((1.0, 0.05, 150.0),))
    empty = np.zeros((512, 512), np.float32)
    highest = [add_clip(empty, clip, pose, number).max() for number in range(9)]
    reached = [abs(5 * number - 20) < REACH for number in range(9)]
    assert [value > 1000 for value in highest] == reached and np.argmax(highest) == 4
    assert highest[4] == pytest.approx(20_000, rel=0.02)
    middle = np.argwhere(add_clip(empty, clip, pose, 4) > 10_000).mean(axis=0)
    assert middle == pytest.approx([250, 260], abs=1)


def test_noise_does_not_depend_on_the_kind_of_oddity() -> None:
    one, other = (parameters(oddities={**ODD, "truncated": n}) for n in (0, 1))
    drawn = [scanned(p, 0, draw_series(p, 0)) for p in (one, other)]
    assert (drawn[0][0] == drawn[1][0]).all()


def test_label_rows_that_are_there_twice_agree(folders: tuple[Path, Path]) -> None:
    raw = pyarrow.csv.read_csv(folders[0] / "stage_2_train.csv")
    rows = list(zip(raw.column("ID").to_pylist(), raw.column("Label").to_pylist(), strict=True))
    assert len(rows) - len(set(rows)) == 6 * ODD["duplicate_rows"]
    assert len(set(rows)) == len({id_ for id_, _ in rows}) == 6 * (COUNT * SLICES + 2)
