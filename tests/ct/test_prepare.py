import csv
import hashlib
import multiprocessing
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import corpus.sharing
import ct.prepare
import ct.read
import ct.scan
from corpus.images import Images
from corpus.manifest import short_hash, write_manifest
from corpus.sharing import Share
from corpus.windows import Window
from ct.convert import Forms, convert
from ct.dicom import Header, Refused, Slice, frame_of, open_file, read_headers, read_known, read_slice
from ct.prepare import prepare
from ct.raw_files import find_files
from ct.tags import File
from settings.errors import BadInput, BadParameter, WrongEnvironment
from tests.ct.files import SIDE, flat, write_dicom

WINDOWS = (Window(40, 80), Window(80, 200), Window(40, 380))
FORMS = Forms(WINDOWS, (16, 24), 32)


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
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    settings = {
        "hashed": True,
        "rejects_at_most": 1.0,
        "work": out / f"work{name}",
        "shard_rows": 2,
        "files": find_files(root, None),
        **settings,
    }
    return prepare(forms=FORMS, images=images, hu=out / f"hu-32{name}", **settings) or {}


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
    assert [str(field.type) for field in index.schema] == [*["string"] * 3, "float", "float", "string", "string"]
    patients = list(dict.fromkeys(id_[3] for id_ in index["id"].to_pylist()))
    assert sorted(patients) == ["a", "b", "c"]
    expected = []
    for ordinal, patient in enumerate(patients, start=1):
        slices = [(-10.0, 1), (30.0, 0), (110.0, 2)]
        if patient == "b":
            slices = slices[1:]
        expected += [(f"ID_{patient}{n}", f"p{ordinal:04d}", z) for z, n in slices]
    columns = (index[name].to_pylist() for name in ("id", "patient", "position"))
    assert list(zip(*columns, strict=True)) == expected
    assert sorted(set(index["place"].to_pylist())) == [0, 0.5, 1]
    assert len(counts["header_kinds"]) == 1 and sum(counts["header_kinds"].values()) == 8
    assert {name: counts[name] for name in ("files", "slices", "patients", "series", "repaired", "rejected_by")} == {
        "files": 11, "slices": 8, "patients": 3, "series": 3, "repaired": 0,
        "rejected_by": {"duplicate": 1, "not-ct": 1, "truncated": 1},
    }  # fmt: skip
    for made in corpora:
        assert {name: made.card[name] for name in counts if name != "slices"} == {
            name: value for name, value in counts.items() if name != "slices"
        }
        assert "v1" in made.card["resize"]


def test_pixels_are_those_of_the_file_that_the_index_names(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path, hashed=False)
    hu, images = Images(tmp_path / "hu-32"), Images(tmp_path / "images-16")
    for row, slice_id in enumerate(hu.column("id")):
        slice_ = read_slice((raw / f"{slice_id[3]}/Smith^John-{slice_id[4]}.dcm").read_bytes())
        made, pixels = convert(slice_, FORMS)
        assert hu.index["pixels"][row].as_py() == pixels and len(pixels) == 16
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


def test_no_identifier_and_no_name_reaches_an_artifact(tmp_path: Path) -> None:
    """Every byte that is written but names.csv, with parquet's columns unpacked as well."""
    random = np.random.default_rng(1)
    words = [
        "Roe^Richard",
        "PID-4711",
        "ACC-0815",
        "19470811",
        "1.2.826.77.1",
        "1.2.826.77.2",
        "1.2.826.77.3",
        "Elm St",
    ]
    for number in range(3):
        write_dicom(
            tmp_path / f"raw/Roe^Richard/{number}.dcm",
            random.integers(900, 1200, (SIDE, SIDE)).astype(np.uint16),
            SOPInstanceUID=f"{words[4]}.{number}",
            PatientID=words[1],
            SeriesInstanceUID=words[5],
            StudyInstanceUID=words[6],
            PatientName=words[0],
            AccessionNumber=words[2],
            PatientBirthDate=words[3],
            PatientAddress=words[7],
            Modality="MR" if number == 2 else "CT",
        )
    assert run(tmp_path / "raw", tmp_path / "out")["slices"] == 2
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 20
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += str(pq.read_table(path).to_pydict()).encode()
        found = [word for word in (*words, "raw/", str(tmp_path)) if word.encode() in content]
        assert not found or path.name == "names.csv", (path, found)
    lines = list(csv.DictReader((tmp_path / "out/work/names.csv").open()))
    ids = Images(tmp_path / "out/hu-32").column("id")
    assert {line["slice"]: line["name"] for line in lines} == {
        **{short_hash(f"{words[4]}.{n}"): f"Roe^Richard/{n}.dcm" for n in range(2)},
        "": "Roe^Richard/2.dcm",
    }
    assert sorted(ids) == sorted(line["slice"] for line in lines if line["slice"])
    assert all(line["file"] == short_hash(line["name"]) for line in lines)


def test_each_frame_of_a_file_is_a_slice(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """c1 stands for three frames, the second of which cannot be decoded; the file is read and parsed once."""
    read: list[str] = []
    parsed: list[int] = []

    def headers(path: Path, lenient: bool) -> list[Header]:
        (header,) = read_headers(path, lenient)
        if header.id != "ID_c1":
            return [header]
        known = header.known._replace(native=None)
        return [
            header._replace(id=f"ID_c1.{n + 1}", frame=n, position=header.position + n / 4, known=known)
            for n in range(3)
        ]

    def parse(content: bytes) -> File:
        parsed.append(len(content))
        return open_file(content)

    def slices(file: File, frame: int) -> Slice:
        if frame == 1:
            raise Refused("truncated", "the second frame is cut short")
        slice_ = frame_of(file, 0)
        return slice_._replace(stored=slice_.stored + np.uint16(frame))

    def verified(path: Path, entry: Any) -> bytes:
        read.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr(ct.scan, "read_headers", headers)
    monkeypatch.setattr(ct.read, "frame_of", slices)
    monkeypatch.setattr(ct.read, "open_file", parse)
    monkeypatch.setattr(ct.read, "read_verified", verified)
    counts = run(raw, tmp_path, hashed=False, shard_rows=100)
    assert counts["slices"] == 9 and counts["files"] == 11
    assert len(read) == len(set(read)) * 3 == 9 and len(parsed) == 1
    assert counts["rejected_by"] == {"duplicate": 1, "not-ct": 1, "truncated": 2}
    corpus = Images(tmp_path / "hu-32")
    rows = [row for row, id_ in enumerate(corpus.column("id")) if id_.startswith("ID_c1")]
    assert [corpus.column("id")[row] for row in rows] == ["ID_c1.1", "ID_c1.3"]
    expected = slices(open_file((raw / "c/Smith^John-1.dcm").read_bytes()), 2)
    assert np.array_equal(corpus.shards.read(rows[1:])[0], convert(expected, FORMS).images[32][..., 3:])


def test_a_file_that_changed_after_its_header_was_read_is_an_error(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files that no manifest lists; others are known by their hash."""
    path = raw / "a/Smith^John-1.dcm"
    content = path.read_bytes()
    scan = ct.scan.scan
    for changed in (content.replace(b"-1024 ", b"-1000 "), content[:300], content[:200] + b"xx" + content[200:]):
        assert changed != content

        def scan_and_change(*arguments: Any, changed: bytes = changed, **settings: Any) -> Any:
            found = scan(*arguments, **settings)
            path.write_bytes(changed)
            return found

        monkeypatch.setattr(ct.prepare, "scan", scan_and_change)
        path.write_bytes(content)
        with pytest.raises(BadInput, match="header changed") as error:
            run(raw, tmp_path)
        assert "Smith" not in str(error.value) and not isinstance(error.value, Refused)
        shutil.rmtree(tmp_path / "work")


def test_too_many_rejects_are_an_error_and_the_work_is_kept(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # not-ct and duplicate are seen by the headers, the truncated file only as its pixels are read.
    with pytest.raises(BadInput, match=r"2 of 11 files were refused \(duplicate 1, not-ct 1\).*--adopt work") as error:
        run(raw, tmp_path, rejects_at_most=0.15)
    assert "Smith" not in str(error.value)
    with pytest.raises(BadInput, match=r"3 of 11 .*truncated 1.*rejects_at_most = 0\.2;"):
        run(raw, tmp_path, rejects_at_most=0.2)
    assert not list((tmp_path / "hu-32").iterdir())
    monkeypatch.setattr(ct.prepare, "convert", lambda *_: pytest.fail("the shards were made already"))
    assert run(raw, tmp_path, rejects_at_most=0.3)["slices"] == 8


def test_work_of_other_files_or_forms_is_not_used(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path)
    with pytest.raises(BadParameter, match="of other files, windows, sides or ids"):
        run(raw, tmp_path, hashed=False)
    (raw / "a/Smith^John-0.dcm").unlink()
    with pytest.raises(BadParameter, match="of other files"):
        run(raw, tmp_path)


def test_geometry_of_the_series_is_written(raw: Path, tmp_path: Path) -> None:
    counts = run(raw, tmp_path)
    lines = list(csv.DictReader((tmp_path / "hu-32/series.csv").open()))
    index = Images(tmp_path / "hu-32").index
    assert [line["series"] for line in lines] == list(dict.fromkeys(index["series"].to_pylist()))
    assert sorted(int(line["slices"]) for line in lines) == [2, 3, 3]  # without the one cut short
    assert sorted((line["spacing_mm"], line["missing"]) for line in lines) == [("40.000", "1")] * 2 + [("80.000", "0")]
    assert counts["odd_series"]["tilted"] == 0 and counts["odd_series"]["missing_slices"] == 2
    assert (tmp_path / "images-16/series.csv").exists()


def test_an_interrupted_run_redoes_unfinished_shards_only_and_ends_the_same(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(raw, tmp_path)
    decoded: list[int] = []

    def dies_at_the_sixth(*arguments: Any) -> Slice:
        decoded.append(1)
        if len(decoded) == 6:
            raise KeyboardInterrupt
        return read_known(*arguments)

    monkeypatch.setattr(ct.read, "read_known", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        run(raw, tmp_path, "-b")
    for folder in ("images-16-b", "images-24-b", "hu-32-b"):
        assert not list((tmp_path / folder).iterdir())
    decoded.clear()

    def counted(*arguments: Any) -> Slice:
        decoded.append(1)
        return read_known(*arguments)

    monkeypatch.setattr(ct.read, "read_known", counted)
    monkeypatch.setattr(ct.scan, "read_headers", lambda *_: pytest.fail("headers were read already"))
    run(raw, tmp_path, "-b")
    assert len(decoded) == 9 - 4
    assert digests(tmp_path) == digests(tmp_path, "-b")


def share_out(raw: Path, out: Path, name: str, share: Share) -> None:
    """What a process of its own does: one shard and one piece of headers have two files."""
    ct.scan.FILES_A_PIECE = 2
    run(raw, out, name, work=out / "work-b", share=share)


def start(*arguments: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "pydicom"])
    process = context.Process(target=share_out, args=arguments)
    process.start()
    return process


def test_killed_at_any_moment_it_ends_the_same(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `kill -9` as each kind of file of the work folder appears."""
    monkeypatch.setattr(ct.scan, "FILES_A_PIECE", 2)
    run(raw, tmp_path)
    for awaited in ("headers-00001.parquet", "hu-32/images-00000.npy", "shard-00002.json"):
        process = start(raw, tmp_path, "-b", Share())
        patience = time.monotonic() + 60
        while not (tmp_path / "work-b" / awaited).exists():
            assert time.monotonic() < patience and process.is_alive(), awaited
        process.kill()
        process.join()
    run(raw, tmp_path, "-b", work=tmp_path / "work-b")
    assert digests(tmp_path) == digests(tmp_path, "-b")


def test_two_processes_share_the_work_by_its_folder_alone(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path)
    ranks = [start(raw, tmp_path, name, Share(rank, 2)) for rank, name in enumerate(("-b", "-c"))]
    for rank in ranks:
        rank.join(timeout=120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    assert digests(tmp_path) == digests(tmp_path, "-b")
    assert not list((tmp_path / "hu-32-c").iterdir())


def test_a_dead_rank_is_named_in_bounded_time(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus.sharing.wait_for_files, "__defaults__", (0.3,))
    monkeypatch.setattr(ct.scan, "FILES_A_PIECE", 2)
    with pytest.raises(WrongEnvironment, match=r"headers: 3 of 6 files .*headers-00001\.parquet, .*rank 1"):
        run(raw, tmp_path, share=Share(0, 2))
    run(raw, tmp_path)
    for number in (1, 3):
        (tmp_path / f"work/shard-{number:05d}.json").unlink()
    with pytest.raises(WrongEnvironment, match=r"shards: 2 of 5 files .*shard-00001\.json, shard-00003\.json; rank 1"):
        run(raw, tmp_path, share=Share(0, 2))


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
