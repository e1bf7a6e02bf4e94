import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pydicom import Dataset
from pydicom.uid import EnhancedCTImageStorage

import commands.predict
import settings.places
from commands.predict import best_variant
from corpus.card import write_card
from corpus.images import Images
from ct.labels import LABELS
from evaluation.metrics import sigmoid
from pipeline import main
from settings.errors import BadArtifact
from tests.backbones import made
from tests.ct.files import flat, write_dicom
from tests.vit.foreign import POSITIVE, SLICES, TEMPERATURES, sources_of
from vit.head import predict
from vit.predict import series_logits

RAW = [f"raw_{label}" for label in LABELS]


def ask(root: Path, *words: object, status: int = 0) -> tuple[list[dict[str, str]], Result]:
    """Run the command; the rows of its CSV, and what it printed."""
    out = root / "found/answers.csv"
    out.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings.places, "ROOT", root)
        result = CliRunner().invoke(main, ["predict", "--csv", str(out), *map(str, words)])
    assert result.exit_code == status, result.output
    assert "Not a medical device" in result.output and "no haemorrhage" not in result.output.lower()
    with out.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file)), result


def numbers(rows: list[dict[str, str]], names: list[str] | tuple[str, ...]) -> np.ndarray:
    return np.array([[float(row[name]) for name in names] for row in rows])


def stack(folder: Path, spacing: float, repeat: int, **tags: Any) -> Path:
    """Three coarse patterns, each on `repeat` slices."""
    random = np.random.default_rng(3)
    patterns = [random.integers(1000, 1090, (8, 8)).repeat(8, 0).repeat(8, 1).astype(np.uint16) for _ in range(3)]
    for number in range(3 * repeat):
        place = ["0", "0", f"{number * spacing:.4f}"]
        path = folder / f"{number}.dcm"
        write_dicom(path, patterns[number // repeat], SOPInstanceUID=f"{folder.name}.{number}",
                    SeriesInstanceUID=folder.name, ImagePositionPatient=place, **tags)  # fmt: skip
    return folder


def enhanced(positions: list[float], across: bool = False) -> dict[str, Any]:
    """Tags of an enhanced CT with frames at these places in mm; `across`: the last one is sagittal."""

    def item(**values: Any) -> Dataset:
        made = Dataset()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    axial, sagittal = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, z])],
            PlaneOrientationSequence=[
                item(ImageOrientationPatient=sagittal if across and number == len(positions) - 1 else axial)
            ],
        )
        for number, z in enumerate(positions)
    ]
    return {
        "SOPClassUID": EnhancedCTImageStorage, "NumberOfFrames": len(positions), "ImagePositionPatient": None,
        "ImageOrientationPatient": None, "PerFrameFunctionalGroupsSequence": frames,
    }  # fmt: skip


def test_slices_have_what_evaluate_gives_them(root: Path) -> None:
    """Two series whose files lie mixed up in one folder: raw probabilities by way of the corpus and its cached maps."""
    rows, result = ask(root, root / "phantom/stage_2_train", "--variant", "series")
    index = Images(root / "artifacts/ct/images-32").index
    accelerator, decisions = made.machine()
    head, sources = root / "artifacts/vit/series", sources_of(root / "artifacts", "series")
    logits = predict(head, sources, np.arange(2 * SLICES), accelerator, decisions, 4)
    assert [row["series"] for row in rows] == index["series"].to_pylist() == ["s0001"] * SLICES + ["s0002"] * SLICES
    np.testing.assert_allclose(numbers(rows, ["position_mm"])[:, 0], index["position"].to_numpy(), atol=0.006)
    apart = sigmoid(logits).std(axis=0)
    np.testing.assert_allclose(numbers(rows, RAW), sigmoid(logits), atol=0.02 * apart.max())
    assert apart.max() > 1e-3
    expected = sigmoid(logits / np.array(TEMPERATURES))
    np.testing.assert_allclose(numbers(rows, LABELS), expected, atol=0.02 * apart.max())
    assert {row["prevalence"] for row in rows} == {"0.2"} and {row["rejected"] for row in rows} == {""}
    assert {Path(row["file"]).parent for row in rows} == {root / "phantom/stage_2_train"}
    assert "20 slices" not in result.output and f"series s0002: {SLICES} slices" in result.output


def test_what_is_no_slice_is_named_and_a_missing_one_is_counted(root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(root / "phantom/stage_2_train", tmp_path / "Doe^Jane")
    rows, _ = ask(root, folder, "--variant", "series")
    cut = Path(rows[2]["file"])
    cut.write_bytes(cut.read_bytes()[:-1000])
    write_dicom(folder / "scout", flat(0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(folder / "deep/er/mr.dcm", flat(0), Modality="MR")
    (folder / "DICOMDIR").write_text("no image")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    (folder / os.fsdecode(b"M\xfcller")).write_text("nor here")
    sideways = ["0", "1", "0", "0", "0", "-1"]
    write_dicom(folder / "sagittal.dcm", flat(0), SeriesInstanceUID="x", ImageOrientationPatient=sideways)
    found, result = ask(root, folder, folder / "scout", "--variant", "series")
    rejected = {Path(row["file"]).name: row["rejected"].split(":")[0] for row in found if row["rejected"]}
    assert rejected == {
        cut.name: "truncated", "scout": "localizer", "mr.dcm": "not-ct", "DICOMDIR": "not-dicom",
        os.fsdecode(b"M\xfcller"): "not-dicom",
        "sagittal.dcm": "not-axial", "linked": "linked-folder",
    }  # fmt: skip
    assert all(
        word in result.output
        for word in ("rejected, localizer: ImageType says LOCALIZER", "deep/er/mr.dcm", r"M\udcfcller")
    )
    answered = [row for row in found if not row["rejected"]]
    assert [row["file"] for row in answered] == [row["file"] for row in rows if row["file"] != str(cut)]
    beside = [Path(row["file"]).name for row in rows if row["series"] == rows[2]["series"]]
    for row in answered:
        assert (f"{SLICES - 1} of {SLICES} slices" in row["flags"]) == (Path(row["file"]).name in beside)
    others, again = ([row for row in some if Path(row["file"]).name not in beside] for some in (rows, answered))
    assert len(others) == SLICES
    np.testing.assert_allclose(numbers(again, RAW), numbers(others, RAW), atol=1e-5)  # a series does not see another


def test_thin_slices_are_averaged_to_what_was_learnt_from(root: Path, tmp_path: Path) -> None:
    """Three equal slices of 1.7 mm are one of 5.1 mm; wide ones are answered, and flagged."""
    answers = {}
    for name, spacing, repeat in (("thick", 5.1, 1), ("thin", 1.7, 3), ("wide", 7.5, 1)):
        answers[name], result = ask(root, stack(tmp_path / name, spacing, repeat), "--variant", "mean")
        assert len(answers[name]) == 3, result.output
    np.testing.assert_allclose(numbers(answers["thin"], RAW), numbers(answers["thick"], RAW), atol=1e-5)
    assert np.ptp(numbers(answers["thick"], RAW), axis=0).max() > 1e-3
    assert [row["slices"] for row in answers["thin"]] == ["3"] * 3
    np.testing.assert_allclose(numbers(answers["thin"], ["position_mm"])[:, 0], [1.7, 6.8, 11.9], atol=0.01)
    assert [Path(row["file"]).name for row in answers["thin"]] == ["0.dcm", "3.dcm", "6.dcm"]
    flags = {name: {row["flags"].split("; any")[0] for row in rows} for name, rows in answers.items()}
    assert flags["thin"] == {"averaged from 1.70 to 5.1 mm"}
    assert flags["wide"] == {"outside the training range: 7.5 mm between slices, learnt from 5.0-5.7"}
    assert not any("range" in row["flags"] or "averaged" in row["flags"] for row in answers["thick"])


def test_a_scan_without_a_name_has_the_answers_of_one_with(root: Path, tmp_path: Path) -> None:
    named, nameless = (
        ask(root, stack(tmp_path / name / "scan", 5.1, 1, PatientID=name), "--variant", "series")[0]
        for name in ("jane", "")
    )
    assert len(nameless) == 3 and not any(row["rejected"] for row in nameless)
    np.testing.assert_array_equal(numbers(nameless, RAW), numbers(named, RAW))


def test_another_prevalence_moves_logits_by_prior_odds(root: Path) -> None:
    """By hand for the shares of POSITIVE on val: `any` 20 of 100 → 5 %, a subtype of 4 of 100 → 1 %."""
    folder = root / "phantom/stage_2_train"
    plain, rare = (ask(root, folder, *words)[0] for words in ((), ("--prevalence", 0.05)))

    def logit(p: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(p / (1 - p)))

    moved = logit(numbers(rare, LABELS)) - logit(numbers(plain, LABELS))
    old = np.array(POSITIVE[1:]) / 100
    np.testing.assert_allclose(moved[:, 1:], np.tile(logit(old / 4) - logit(old), (len(moved), 1)), atol=2e-4)
    np.testing.assert_allclose(moved[:, 0], np.log(1 / 4), atol=2e-4)  # no positive on val: the limit
    assert {row["prevalence"] for row in rare} == {"0.05"}
    np.testing.assert_array_equal(numbers(rare, RAW), numbers(plain, RAW))
    for row in plain + rare:
        largest = max(LABELS[:-1], key=lambda label: float(row[label]))
        below = float(row["any"]) < float(row[largest])
        assert (f"any below {largest}" in row["flags"]) == below
    with pytest.raises(AssertionError, match="is not between 0 and 1"):
        ask(root, folder, "--prevalence", 1.5)


def test_an_answer_that_is_not_finite_is_a_reject(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stack(tmp_path / "scan", 5.1, 1)
    whole, _ = ask(root, folder, "--variant", "mean")
    broken: tuple[Any, Any] = (1, 2)

    def logits(*arguments: Any) -> np.ndarray:
        found = series_logits(*arguments)
        found[broken] = np.nan
        return found

    monkeypatch.setattr(commands.predict, "series_logits", logits)
    found, result = ask(root, folder, "--variant", "mean")
    reason = "not-finite: the network's answer is no finite number"
    assert [(Path(row["file"]).name, row["rejected"]) for row in found] == [
        ("0.dcm", ""), ("2.dcm", ""), ("1.dcm", reason)
    ]  # fmt: skip
    np.testing.assert_array_equal(numbers(found[:2], RAW), numbers([whole[0], whole[2]], RAW))
    assert all("2 of 3 slices" in row["flags"] for row in found[:2]) and f"rejected, {reason}" in result.output
    broken = (slice(None), 0)
    found, _ = ask(root, folder, "--variant", "mean", status=2)
    assert [row["rejected"] for row in found] == [reason] * 3


def test_slices_without_a_place_are_answered_one_by_one(root: Path, tmp_path: Path) -> None:
    """As a head with context answers each of them when it is given nothing else."""
    whole = stack(tmp_path / "whole", 5.1, 1)
    alone = [ask(root, file, "--variant", "series")[0][0] for file in sorted(whole.iterdir())]
    scan = stack(tmp_path / "scan", 5.1, 1, ImageOrientationPatient=None)
    coronal = ["1", "0", "0", "0", "0", "-1"]
    write_dicom(tmp_path / "other.dcm", flat(0), ImagePositionPatient=None, ImageOrientationPatient=coronal)
    found, result = ask(root, scan, tmp_path / "other.dcm", "--variant", "series")
    *found, refused = sorted(found, key=lambda row: row["file"][::-1])
    assert refused["rejected"].startswith("not-axial") and "nan" not in result.output
    assert [Path(row["file"]).name for row in found] == ["0.dcm", "1.dcm", "2.dcm"]
    assert len({row["series"] for row in found}) == 3
    assert all(row["position_mm"] == "" and row["flags"].startswith("position unknown") for row in found)
    np.testing.assert_allclose(numbers(found, RAW), numbers(alone, RAW), atol=1e-6)


def test_contrast_and_sharp_kernels_are_flagged(root: Path, tmp_path: Path) -> None:
    folder = stack(tmp_path / "scan", 5.1, 1, ContrastBolusAgent="yes", ConvolutionKernel="H70h")
    found, _ = ask(root, folder, "--variant", "mean")
    assert len(found) == 3 and all(row["flags"].startswith("contrast; sharp-kernel") for row in found)


def test_frames_of_a_file_have_their_numbers(root: Path, tmp_path: Path) -> None:
    """Three of 5.1 mm from one file, above the other way up; the last of another's lies across, the rest is cut off."""
    stored = np.stack([flat(1030), flat(1060), flat(1090)])
    path = write_dicom(tmp_path / "scan.dcm", stored, **enhanced([10.2, 5.1, 0.0]), SeriesInstanceUID="a")
    found, _ = ask(root, path, "--variant", "mean")
    assert [(row["file"], row["position_mm"]) for row in found] == [
        (f"{path}#3", "0.00"), (f"{path}#2", "5.10"), (f"{path}#1", "10.20")
    ]  # fmt: skip
    cut = write_dicom(tmp_path / "cut.dcm", stored, **enhanced([0.0, 5.1, 0.0], across=True), SeriesInstanceUID="b")
    cut.write_bytes(cut.read_bytes()[:-1000])
    found, result = ask(root, path, cut, "--variant", "mean")
    rejected = {row["file"]: row["rejected"].split(":")[0] for row in found if row["rejected"]}
    assert rejected == {f"{cut}#1": "truncated", f"{cut}#2": "truncated", f"{cut}#3": "orientation"}
    assert f"{cut}#3" in result.output


def test_nothing_readable_is_status_2_with_the_reasons(root: Path, tmp_path: Path) -> None:
    write_dicom(tmp_path / "mr.dcm", flat(0), Modality="MR")
    (tmp_path / "notes.txt").write_text("none")
    found, result = ask(root, tmp_path, status=2)
    assert "none of 2 files gave a slice" in result.output
    assert sorted(row["rejected"].split(":")[0] for row in found) == ["not-ct", "not-dicom"]
    assert "rejected, not-ct: modality is MR" in result.output
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings.places, "ROOT", root)
        assert CliRunner().invoke(main, ["predict", str(empty)]).exit_code == 2


def test_a_folder_in_the_place_of_the_csv_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    """There are no artifacts here: to look at them first would be another error."""
    write_dicom(tmp_path / "a.dcm", flat(0))
    for command, option in (("predict", "--csv"), ("submission", "--out")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings.places, "ROOT", tmp_path)
            result = CliRunner().invoke(main, [command, option, str(tmp_path), str(tmp_path / "a.dcm")])
        assert result.exit_code == 2 and f"'{option}'" in result.output and "is a directory" in result.output


def test_an_error_leaves_no_part_of_the_csv(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> np.ndarray:
        raise BadArtifact("the head is gone")

    monkeypatch.setattr(commands.predict, "series_logits", fails)
    monkeypatch.setattr(settings.places, "ROOT", root)
    folder = stack(tmp_path / "scan", 5.1, 1)
    out = tmp_path / "out/answers.csv"
    result = CliRunner().invoke(main, ["predict", "--csv", str(out), "--variant", "mean", str(folder)])
    assert result.exit_code and "the head is gone" in result.output
    assert not list(out.parent.iterdir())


def test_the_variant_is_that_of_the_lowest_loss_on_val(root: Path) -> None:
    losses = {
        name: json.loads((root / f"artifacts/vit/{name}/card.json").read_text())["val_weighted_log_loss"]
        for name in ("series", "mean")
    }
    assert best_variant(root / "artifacts") == min(losses, key=lambda name: losses[name])


def test_a_head_that_params_no_longer_names_is_not_chosen(tmp_path: Path) -> None:
    for name, loss in (("old", 0.1), ("new", 0.2), ("worse", 0.3)):
        for folder in (tmp_path / "artifacts/vit" / name, tmp_path / "artifacts/evaluation" / name):
            folder.mkdir(parents=True)
        write_card(tmp_path / "artifacts/vit" / name, "head", val_weighted_log_loss=loss)
        (tmp_path / "artifacts/evaluation" / name / "details.json").write_text("{}")
    params = tmp_path / "params.yaml"
    params.write_text("variants: {worse: {}, new: {}, unmade: {}}")
    assert best_variant(tmp_path / "artifacts") == "new"
    params.write_text("variants: {unmade: {}}")
    with pytest.raises(BadArtifact, match=r"no variant of params\.yaml with its evaluation"):
        best_variant(tmp_path / "artifacts")
