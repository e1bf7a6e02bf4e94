from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from benchmarks.ct_ingest import naive, ours, same_outputs
from benchmarks.ct_memory import memory_run, write_many
from corpus.windows import Window
from ct.convert import Forms
from tests.ct.files import write_dicom

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))


def drawn(path: Path) -> Path:
    smooth = 1064 + 200 * np.sin(np.linspace(0, 9, 512))[:, None] * np.cos(np.linspace(0, 7, 512))[None]
    names: dict[str, Any] = {"SOPInstanceUID": "ID_0123456ab", "PatientID": "ID_01234567"}
    names |= {"SeriesInstanceUID": "ID_0123456789", "StudyInstanceUID": "ID_9876543210"}
    return write_dicom(path, smooth.astype(np.uint16), **names)


def test_both_chains_make_the_same_image(tmp_path: Path) -> None:
    path = drawn(tmp_path / "a.dcm")
    one, other = naive(WINDOWS, path), ours(Forms(WINDOWS, (224,), 224), [path])
    assert one.shape == other.shape == (224, 224, 3)
    assert np.array_equal(same_outputs(WINDOWS, [path]), other)
    assert np.abs(one.astype(int) - other).max() <= 2 and one.std() > 50


def test_many_files_are_slices_of_their_own(tmp_path: Path) -> None:
    write_many([drawn(tmp_path / "a.dcm"), drawn(tmp_path / "b.dcm")], tmp_path / "raw", 5)
    headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "raw").iterdir())]
    assert [header.SOPInstanceUID for header in headers] == [f"ID_00000000{n}" for n in range(5)]
    assert [header.PatientID for header in headers] == [f"ID_0000000{n // 2}" for n in range(5)]
    assert headers[0].pixel_array.shape == (128, 128)
    found = memory_run(tmp_path / "raw", tmp_path / "out")
    assert found["files"] == 5 and found["main_mb"] > 30 and (tmp_path / "out/hu/index.parquet").exists()
