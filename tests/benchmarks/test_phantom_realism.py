from pathlib import Path

import numpy as np
import pytest

from benchmarks import phantom_realism as realism
from benchmarks import realism_pictures as pictures
from ct.phantom import draw_series, make
from settings.errors import BadInput
from tests.ct.phantoms import NONE, phantom_parameters


def test_phantoms_are_read_back_as_drawn(tmp_path: Path) -> None:
    parameters = phantom_parameters(patients=2, slices=3, oddities=NONE)
    make(parameters, tmp_path, 1)
    scans = realism.scans_of(tmp_path)
    assert sorted(len(own) for own in scans.values()) == [3, 3]
    labels = realism.labels_in(tmp_path)
    drawn = [draw_series(parameters, patient) for patient in range(2)]
    spacings = sorted(series.pose.spacing for series in drawn)
    assert sorted({s.spacing for own in scans.values() for s in own}) == pytest.approx(spacings, abs=1e-5)
    for own in scans.values():
        series = next(d for d in drawn if d.pose.spacing == pytest.approx(own[0].spacing, abs=1e-5))
        assert np.diff([s.position for s in own]) == pytest.approx(5 * np.cos(series.pose.tilt), abs=1e-3)
        assert [labels[s.id] for s in own] == series.labels
        for scan, painted in zip(own, series.painted, strict=True):
            brain = (painted.hu > 10) & (painted.hu < 60)
            assert np.median((scan.hu() - painted.hu)[brain]) == pytest.approx(0, abs=0.5)


def test_a_folder_without_slices_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no \.dcm below"):
        realism.scans_of(tmp_path)
    assert realism.labels_in(tmp_path) == {}


def test_what_lies_inside_the_spread() -> None:
    real = np.linspace(0, 100, 101)
    inside = realism.compared(real, np.linspace(30, 70, 41))
    assert inside["real"] == pytest.approx([5, 50, 95]) and inside["drawn"] == pytest.approx([32, 50, 68])
    assert (inside["median_inside"], inside["range_inside"]) == (True, True)
    assert inside["tell"] == pytest.approx(0.5, abs=0.01)
    wide = realism.compared(real, np.linspace(-50, 150, 41))
    assert (wide["median_inside"], wide["range_inside"]) == (True, False)
    away = realism.compared(real, np.full(5, 200.0))
    assert (away["median_inside"], away["range_inside"], away["tell"]) == (False, False, 1)
    assert realism.compared(real, np.array([1.0, np.nan, np.nan]))["tell"] is None


def test_the_table_begins_with_what_tells_most() -> None:
    real = np.linspace(0, 100, 101)
    rows = {"alike": realism.compared(real, real), "other": realism.compared(real, real + 200)}
    lines = realism.table(rows).splitlines()
    assert lines[1].startswith("other") and "NOT" in lines[1]
    assert lines[2].startswith("alike") and "NOT" not in lines[2]


def test_hyperdense_area_by_label() -> None:
    scans = [realism.Scan(str(i), "p", float(i), 0.5, Path()) for i in range(4)]
    figures = [{"hyperdense": float(v)} for v in (1, 2, 3, np.nan)]
    labels: dict[str, tuple[int, ...]] = {
        "0": (0, 0, 0, 0, 0, 0),
        "1": (0, 1, 0, 0, 0, 1),
        "2": (0, 0, 0, 0, 0, 0),
        "3": (0, 1, 0, 0, 0, 1),
    }
    found = realism.floor_aucs([realism.Patient("p", scans, figures, scans)], labels)
    assert found["intraparenchymal"] == 0.5 and found["any"] == 0.5 and np.isnan(found["epidural"])


def test_pictures_keep_millimetres() -> None:
    """A ball of 150 mm drawn with two pixel sizes has one size on the sheet."""
    widths = []
    for spacing in (0.5, 0.8):
        y, x = (np.indices((512, 512)) - 250) * spacing
        shown = pictures.cell((np.where(np.hypot(y, x) < 75, 40, -1000).astype(np.float32), spacing), (0, 80))
        assert shown.shape == (pictures.CELL, pictures.CELL)
        widths.append(int((shown[pictures.CELL // 2] > 60).sum()))
    assert widths[0] == widths[1] == pytest.approx(150, abs=4)


def test_what_the_probes_see() -> None:
    """A bright dot in the brain, at 60 HU over 24, and a skull: each view has its scale and its extent."""
    y, x = (np.indices((512, 512)) - 256) * 0.5
    radius = np.hypot(y, x)
    hu = np.where(radius < 60, 24, np.where(radius < 66, 1000, np.where(radius < 72, -80, -1000)))
    picture = (np.where(np.hypot(y, x + 20) < 5, 60, hu).astype(np.float32), 0.5)
    head, brain, coarse, texture = (
        pictures.probe_pictures([picture], v)[0] for v in ("head", "brain", "coarse", "texture")
    )
    level = {name: int(v[64, 64]) for name, v in zip("hbct", (head, brain, coarse, texture), strict=True)}
    assert level == pytest.approx(
        {"h": 24 / 80 * 255, "b": 30 / 80 * 255, "c": 30 / 80 * 255, "t": 30 / 80 * 255}, abs=2
    )
    row = [round(64 + at * 128 / 200) for at in (-63, -20, 80)]  # bone, dot and air, 200 mm over 128 pixels
    assert head[64, row] == pytest.approx([255, 60 / 80 * 255, 0], abs=3)
    assert brain[64, row] == pytest.approx([0, 66 / 80 * 255, 0], abs=3)
    assert texture[64, 64 - 40] == pytest.approx(66 / 80 * 255, abs=2)  # its own pixels, of 0.5 mm


def test_the_vertex_is_the_highest_slice_with_bone() -> None:
    bone = np.full((512, 512), 900, np.float32)
    series = [(bone, 0.5), (bone, 0.5), (bone - 1900, 0.5)]
    assert pictures.vertex(series) == 1
