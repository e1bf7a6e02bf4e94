import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pydicom
import pytest

import ct.prepare
from corpus.images import Images
from corpus.manifest import short_hash, write_manifest
from corpus.windows import Window
from ct.dicom import Encoding, Slice, read_slice
from ct.prepare import Forms, convert, find_files, prepare
from settings.errors import BadInput
from tests.ct.files import SIDE, flat, real_slices, write_dicom

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
FORMS = Forms(WINDOWS, (16, 24), 32)


def triangle(size: int, to: int) -> npt.NDArray[np.float64]:
    """to×size weights of the antialiased bilinear filter: a triangle, as wide as the reduction (1 at least)."""
    scale = max(size / to, 1.0)
    centre = (np.arange(to)[:, None] + 0.5) * size / to
    weights = np.maximum(0, 1 - np.abs(np.arange(size)[None] + 0.5 - centre) / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def textbook(hu: npt.NDArray[Any], low: float, high: float, side: int) -> npt.NDArray[np.float64]:
    """Window, then resize, in float64: 0 … 255, not rounded."""
    shown = np.clip((hu.astype(np.float64) - low) / (high - low), 0, 1) * 255
    down = triangle(len(hu), side)
    return np.asarray(down @ shown @ down.T)


def largest_difference(slice_: Slice, hu: npt.NDArray[Any], sides: tuple[int, ...], hu_side: int) -> float:
    made = convert(slice_, Forms(WINDOWS, sides, hu_side))
    worst = 0.0
    for side in {*sides, hu_side}:
        for channel, (low, high) in enumerate([*((w.low, w.high) for w in WINDOWS), (-150, 230)]):
            worst = max(worst, float(np.abs(made[side][..., channel] - textbook(hu, low, high, side)).max()))
    return worst


def test_values_are_the_textbooks_within_one_level() -> None:
    random = np.random.default_rng(0)
    smooth = 40 + 60 * np.sin(np.linspace(0, 9, 512))[:, None] * np.cos(np.linspace(0, 7, 512))[None]
    for hu in (
        random.integers(-1024, 1500, (512, 512)),
        smooth.round(),
        smooth.round() + random.integers(-3, 4, (512, 512)),
    ):
        slice_ = Slice((hu + 1024).astype(np.uint16), Encoding(1, -1024, 12, False))
        # Below one and a half of the unrounded value is within one level of the rounded one.
        assert largest_difference(slice_, hu, (96, 224), 192) < 1.5
        made = convert(slice_, Forms(WINDOWS, (96,), 192))
        for channel, window in enumerate(WINDOWS):
            rounded = np.round(textbook(hu, window.low, window.high, 96))
            assert np.abs(made[96][..., channel] - rounded).max() <= 1


def test_a_smaller_slice_is_enlarged() -> None:
    stored = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) + 1000).astype(np.uint16)
    assert largest_difference(Slice(stored, Encoding(1, -1024, 12, False)), stored - 1024.0, (96,), 128) < 1.5


def test_flat_slices_by_hand() -> None:
    made = convert(Slice(flat(1064), Encoding(1, -1024, 12, False)), FORMS)  # 40 HU
    # brain 0 … 80: half; subdural -20 … 180: 60/200; soft tissue -150 … 230: half; HU range -150 … 230: half
    assert {tuple(pixel) for image in made.values() for pixel in image.reshape(-1, 4)} == {(128, 77, 128, 128)}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Nine slices of three patients, one of them cut short, beside a duplicate and an MR image."""
    root = tmp_path / "raw"
    random = np.random.default_rng(1)
    for patient in "abc":
        for number, z in enumerate((30, -10, 110)):
            write_dicom(
                root / f"{patient}/Smith^John-{number}.dcm",
                random.integers(900, 1200, (SIDE, SIDE)).astype(np.uint16),
                SOPInstanceUID=f"ID_{patient}{number}",
                PatientID=f"ID_patient_{patient}",
                SeriesInstanceUID=f"ID_series_{patient}",
                ImagePositionPatient=["0", "0", str(z)],
            )
    write_dicom(root / "d/mr.dcm", flat(0), Modality="MR")
    write_dicom(root / "d/again.dcm", flat(0), SOPInstanceUID="ID_a0", PatientID="ID_patient_a")
    cut = root / "b/Smith^John-1.dcm"
    cut.write_bytes(cut.read_bytes()[:-500])
    return root


def run(root: Path, out: Path, name: str = "", **settings: Any) -> dict[str, Any]:
    """Prepare below `out`; returns the counts."""
    images = {side: out / f"images-{side}{name}" for side in FORMS.sides}
    for folder in (*images.values(), out / f"hu-32{name}"):
        folder.mkdir(parents=True)
    settings = {
        "hashed": True,
        "work": out / f"work{name}",
        "shard_rows": 2,
        "files": find_files(root, None),
        **settings,
    }
    return prepare(forms=FORMS, images=images, hu=out / f"hu-32{name}", **settings)


def digests(out: Path, name: str = "") -> dict[str, str]:
    return {
        path.relative_to(out).as_posix().replace(name or "\0", ""): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in (f"images-16{name}", f"images-24{name}", f"hu-32{name}")
        for path in (out / folder).iterdir()
    }


def test_corpora_have_the_same_rows_in_order_of_patient_series_and_position(raw: Path, tmp_path: Path) -> None:
    counts = run(raw, tmp_path, hashed=False)
    corpora = [
        Images(tmp_path / "images-16", "windows"),
        Images(tmp_path / "images-24"),
        Images(tmp_path / "hu-32", "hu"),
    ]
    assert [corpus.shards.row_shape for corpus in corpora] == [(16, 16, 3), (24, 24, 3), (32, 32, 1)]
    assert all(corpus.index.equals(corpora[0].index) and len(corpus) == 8 for corpus in corpora)
    index = corpora[0].index
    assert [str(field.type) for field in index.schema] == ["string", "string", "string", "float", "float"]
    by_patient = {short_hash(f"ID_patient_{p}"): p for p in "abc"}
    expected = []
    for ordinal, digest in enumerate(sorted(by_patient), start=1):
        slices = [(-10.0, 1), (30.0, 0), (110.0, 2)]
        if by_patient[digest] == "b":
            slices = slices[1:]
        expected += [(f"ID_{by_patient[digest]}{n}", f"p{ordinal:04d}", z) for z, n in slices]
    columns = (index[name].to_pylist() for name in ("id", "patient", "position"))
    assert list(zip(*columns, strict=True)) == expected
    assert sorted(set(index["place"].to_pylist())) == [0, 0.5, 1]
    assert counts == {
        "files": 11, "slices": 8, "patients": 3, "series": 3, "repaired": 0,
        "rejected_by": {"duplicate": 1, "not-ct": 1, "truncated": 1},
    }  # fmt: skip


def test_pixels_are_those_of_the_file_that_the_index_names(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path, hashed=False)
    hu, images = Images(tmp_path / "hu-32"), Images(tmp_path / "images-16")
    for row, slice_id in enumerate(hu.column("id")):
        slice_ = read_slice((raw / f"{slice_id[3]}/Smith^John-{slice_id[4]}.dcm").read_bytes())
        made = convert(slice_, FORMS)
        assert np.array_equal(hu.shards.read([row])[0], made[32][..., 3:])
        assert np.array_equal(images.shards.read([row])[0], made[16][..., :3])
    assert hu.card["hu_range"] == [-150, 230] and hu.windows() == WINDOWS


def test_rejects_name_the_rule_and_the_hash_of_the_path(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path)
    lines = (tmp_path / "hu-32/rejects.csv").read_text().splitlines()
    rules = {line.split(",")[0]: line.split(",")[1] for line in lines[1:]}
    expected = {"d/mr.dcm": "not-ct", "d/again.dcm": "duplicate", "b/Smith^John-1.dcm": "truncated"}
    assert rules == {short_hash(name): rule for name, rule in expected.items()}
    assert (tmp_path / "images-16/rejects.csv").read_text().splitlines() == lines


def test_no_identifier_and_no_name_reaches_an_artifact(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path)
    for path in (p for folder in ("images-16", "images-24", "hu-32") for p in (tmp_path / folder).iterdir()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = str(pq.read_table(path).to_pydict()).encode()
        assert b"ID_" not in content and b"Smith" not in content and str(tmp_path).encode() not in content, path


def test_an_interrupted_run_redoes_unfinished_shards_only_and_ends_the_same(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path)
    decoded: list[int] = []

    def dies_at_the_sixth(content: bytes) -> Slice:
        decoded.append(1)
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return read_slice(content)

    monkeypatch.setattr(ct.prepare, "read_slice", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path, "-b")
    for folder in ("images-16-b", "images-24-b", "hu-32-b"):
        assert not list((tmp_path / folder).iterdir())
        (tmp_path / folder).rmdir()
    decoded.clear()

    def counted(content: bytes) -> Slice:
        decoded.append(1)
        return read_slice(content)

    monkeypatch.setattr(ct.prepare, "read_slice", counted)
    monkeypatch.setattr(ct.prepare, "read_header", lambda path: pytest.fail("headers were read already"))
    run(raw, tmp_path, "-b")
    assert len(decoded) == 9 - 4
    assert digests(tmp_path) == digests(tmp_path, "-b")


def test_two_workers_make_what_one_makes(raw: Path, tmp_path: Path) -> None:
    assert run(raw, tmp_path) == run(raw, tmp_path, "-b", workers=2)
    assert digests(tmp_path) == digests(tmp_path, "-b")


def test_files_of_a_manifest_are_verified(raw: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "ct.csv"
    write_manifest(raw, manifest, tmp_path / "names.csv")
    counts = run(raw, tmp_path, files=find_files(raw, manifest))
    assert counts["slices"] == 8
    path = raw / "a/Smith^John-0.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match="not what the manifest lists") as error:
        run(raw, tmp_path, "-b", files=find_files(raw, manifest))
    assert "Smith" not in str(error.value)


def test_unreadable_files_are_rejects_and_nothing_readable_is_an_error(raw: Path, tmp_path: Path) -> None:
    files = find_files(raw, None)
    (raw / "a/Smith^John-0.dcm").unlink()
    assert run(raw, tmp_path, files=files)["rejected_by"]["unreadable"] == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"no \.dcm file"):
        find_files(tmp_path / "empty", None)
    write_dicom(tmp_path / "mr/mr.dcm", flat(0), Modality="MR")
    with pytest.raises(BadInput, match=r"none of 1 files gave a slice .*not-ct 1"):
        run(tmp_path / "mr", tmp_path, "-b")


def test_real_slices_equal_the_textbook() -> None:
    for path in real_slices()[::20]:
        dataset = pydicom.dcmread(path)
        hu = dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert largest_difference(read_slice(path.read_bytes()), hu, (96, 224), 192) < 1.5


def test_real_slices_all_become_images(tmp_path: Path) -> None:
    real_slices()
    root = Path(os.environ["SCOPEFORMER_TEST_DATA"]) / "rsna/stage_2_train"
    counts = run(root, tmp_path, shard_rows=None)
    assert counts["slices"] == counts["files"] and counts["repaired"] == 0 and not counts["rejected_by"]
    index = Images(tmp_path / "hu-32").index
    for series in set(index["series"].to_pylist()):
        position = [row["position"] for row in index.to_pylist() if row["series"] == series]
        assert position == sorted(position)
