"""prepare-ct and split-ct over phantoms with every oddity, as the graph declares them; against plain ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.images import Images
from corpus.manifest import short_hash
from ct.labels import LABELS
from ct.phantom import make
from ct.phantom_dicom import identity
from ct.phantom_oddities import IN_ORDER
from settings.loader import load_yaml
from settings.places import ROOT, Local
from stages import prepare_ct, run, split_ct
from stages.graph import declarations
from stages.run import Job
from tests.ct.phantoms import NONE, phantom_parameters

SEED, PATIENTS, SLICES = 4, 9, 2
ODD: dict[str, int] = {**dict.fromkeys(IN_ORDER, 1), "duplicate_rows": 3}
OF: dict[str, int] = {name: patient for patient, name in enumerate(IN_ORDER)}
STORED_ALIKE = {"implicit": 1, "explicit": 0, "high_intercept": 0, "padded": 0, "decimal": 0}


def ran(root: Path, params: dict[str, Any], name: str, stage: Any) -> None:
    """A stage as the graph declares it, its outs renamed into place."""
    declared = declarations(params)[name]
    outs = [out for out in declared.outs if "provenance" not in out]
    for out in outs:
        part = (root / out).with_name(f".{Path(out).name}.part")
        (part.parent if Path(out).suffix else part).mkdir(parents=True, exist_ok=True)
    (root / "work" / name).mkdir(parents=True)
    local = Local(workers=1)
    stage.run(Job(name, params, root / "work" / name, local, frozenset(declared.deps), frozenset(outs)))
    for out in outs:
        (root / out).with_name(f".{Path(out).name}.part").rename(root / out)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Odd patients, prepared and split; and the odd ones of them without their oddities, prepared."""
    params = load_yaml(ROOT / "profiles/demo.yaml")
    params["prepare_ct"] |= {"sides": [96], "hu_side": 128, "rejects_at_most": 0.2}
    params["cnns"] = {name: {**cnn, "side": 96} for name, cnn in params["cnns"].items()}
    found = []
    for name, patients, oddities in (("odd", PATIENTS, ODD), ("plain", len(IN_ORDER), NONE)):
        root = tmp_path_factory.mktemp(name)
        (root / "artifacts/phantom").mkdir(parents=True)
        drawn = phantom_parameters(seed=SEED, patients=patients, slices=SLICES, kinds=STORED_ALIKE, oddities=oddities)
        make(drawn, root / "artifacts/phantom", workers=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "ROOT", root)
            ran(root, params, "prepare-ct", prepare_ct)
            if name == "odd":
                ran(root, params, "split-ct", split_ct)
        found.append(root)
    return found[0], found[1]


def id_of(oddity: str, file: int) -> str:
    return short_hash(identity(SEED, OF[oddity], file).slice)


def images(root: Path, oddity: str) -> np.ndarray:
    corpus = Images(root / "artifacts/ct/images-96", "windows")
    return np.asarray(corpus.shards.read(corpus.rows_of([id_of(oddity, n) for n in range(SLICES)]))).astype(int)


def test_every_file_but_the_truncated_one_becomes_a_slice(roots: tuple[Path, Path]) -> None:
    corpus = Images(roots[0] / "artifacts/ct/images-96", "windows")
    assert len(corpus.column("id")) == PATIENTS * SLICES + 1 and len(set(corpus.column("series"))) == PATIENTS
    rejects = (roots[0] / "artifacts/ct/images-96/rejects.csv").read_text().splitlines()
    assert len(rejects) == 2 and "truncated" in rejects[1]
    assert corpus.card["repaired"] == SLICES


def test_a_glitch_leaves_no_trace(roots: tuple[Path, Path]) -> None:
    odd, plain = (images(root, "glitch") for root in roots)
    assert (odd == plain).all()


def test_another_size_is_padded_with_air(roots: tuple[Path, Path]) -> None:
    """464 × 400 pixels: at 96 pixels a margin of 6.6 on the left and on the right, and a head a tenth larger."""
    odd, plain = (images(root, "other_size") for root in roots)
    assert (odd[:, :, [0, 1, 2, 3, 4, -5, -4, -3, -2, -1]] == 0).all()
    area = [(image[..., 2] > 100).sum() for image in (odd, plain)]
    assert area[0] / area[1] == pytest.approx((512 / 464) ** 2, rel=0.06)


def test_metal_saturates_and_shines(roots: tuple[Path, Path]) -> None:
    odd, plain = (images(root, "metal")[..., 0] for root in roots)
    assert np.abs(odd - plain).max() > 100


def test_a_slice_that_was_scanned_twice_stays_beside_itself(roots: tuple[Path, Path]) -> None:
    corpus = Images(roots[0] / "artifacts/ct/images-96", "windows")
    rows = corpus.rows_of([id_of("duplicate_positions", file) for file in (SLICES // 2, SLICES)])
    assert abs(int(rows[0] - rows[1])) == 1
    assert len({corpus.column("position")[row] for row in rows}) == 1


def test_every_slice_has_its_label_and_every_patient_one_part(
    roots: tuple[Path, Path],
) -> None:
    folder = roots[0] / "artifacts/split"
    parts = pq.read_table(folder / "parts.parquet").to_pylist()
    assert len(parts) == PATIENTS * SLICES + 1
    of: dict[str, set[tuple[str, str]]] = {}
    for row in parts:
        of.setdefault(row["patient"], set()).add((row["part"], row["half"]))
    assert len(of) == PATIENTS and all(len(found) == 1 for found in of.values())
    labels = [row for part in ("train", "val", "test") for row in rows_of(folder / f"labels-{part}.parquet")]
    assert {row["id"] for row in labels} == {row["id"] for row in parts}
    csv = (roots[0] / "artifacts/phantom/stage_2_train.csv").read_text().split()
    given = {tuple(line.rsplit(",", 1)) for line in csv[1:]}
    name = {short_hash(id_.rsplit("_", 1)[0]): id_.rsplit("_", 1)[0] for id_, _ in given}
    assert all((f"{name[row['id']]}_{label}", str(row[label])) in given for row in labels for label in LABELS)


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows
