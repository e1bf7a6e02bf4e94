"""What prepare-ct counts: repairs and warnings on made files, nothing odd in real ones."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from corpus.images import Images
from tests.ct.files import SIDE, real_slices, write_dicom
from tests.ct.test_prepare import run


def test_a_repaired_slice_is_not_warned_of_what_was_repaired(tmp_path: Path) -> None:
    tags: dict[str, Any] = {"BitsStored": 12, "PixelRepresentation": 0, "RescaleIntercept": "0"}
    stored = np.random.default_rng(0).integers(0, 80, (SIDE, SIDE)).astype(np.uint16)
    write_dicom(tmp_path / "raw/a.dcm", stored, **tags)
    for number in range(3):
        stored[: 8 * (number + 1)] = 3096
        write_dicom(tmp_path / f"raw/b{number}.dcm", stored, **tags)
    counts = run(tmp_path / "raw", tmp_path / "out")
    assert (counts["repaired"], counts["warnings"]) == (3, {"intercept-0-unsigned": 1})
    (tmp_path / "raw/a.dcm").unlink()
    counts = run(tmp_path / "raw", tmp_path / "out", "-b")
    assert (counts["repaired"], counts["warnings"]) == (3, {})


def test_real_slices_all_become_images(tmp_path: Path) -> None:
    real_slices()
    root = Path(os.environ["SCOPEFORMER_REAL_DATA"]) / "rsna/stage_2_train"
    counts = run(root, tmp_path, shard_rows=None)
    assert counts["slices"] == counts["files"] and counts["repaired"] == 0 and not counts["rejected_by"]
    index = Images(tmp_path / "hu-32").index
    for series in set(index["series"].to_pylist()):
        position = [row["position"] for row in index.to_pylist() if row["series"] == series]
        assert position == sorted(position)
