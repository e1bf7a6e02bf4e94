import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import settings.places
from ct.labels import LABELS
from evaluation.submission import SUBTYPES
from pipeline import main
from tests.commands.test_predict import ask, stack
from tests.ct.files import flat, write_dicom
from tests.vit.foreign import POSITIVE


def submit(root: Path, *words: object, status: int = 0) -> tuple[list[tuple[str, float]], Result]:
    out = root / "new/submission.csv"
    out.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings.places, "ROOT", root)
        result = CliRunner().invoke(main, ["submission", "--out", str(out), *map(str, words)])
    assert result.exit_code == status, result.output
    assert out.exists() == (status == 0)
    if status:
        return [], result
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header == ["ID", "Label"]
    return [(name, float(value)) for name, value in rows], result


def sample(path: Path, ids: Sequence[str]) -> Path:
    path.write_text("ID,Label\n" + "".join(f"{id_}_{name},0.5\n" for id_ in ids for name in SUBTYPES))
    return path


def test_rows_are_those_of_the_sample_and_answers_those_of_predict(root: Path, tmp_path: Path) -> None:
    folder = root / "phantom/stage_2_train"
    answers = {Path(row["file"]).stem: row for row in ask(root, folder, "--variant", "mean")[0]}
    ids = sorted(answers, key=lambda id_: id_[::-1])  # in no order of theirs
    order = sample(tmp_path / "sample.csv", ids)
    rows, result = submit(root, folder, "--order", order, "--variant", "mean")
    assert [name for name, _ in rows] == [f"{id_}_{name}" for id_ in ids for name in SUBTYPES]
    expected = [float(answers[id_][name]) for id_ in ids for name in SUBTYPES]
    np.testing.assert_allclose([value for _, value in rows], expected, rtol=0, atol=1e-6)
    assert np.std(np.reshape(expected, (-1, 6)), axis=0).max() > 1e-4
    assert "variant mean: 60 rows, 0 slices of them filled" in result.output
    some, _ = submit(root, folder, "--order", sample(order, ids[1::-1]), "--variant", "mean")
    assert some == rows[6:12] + rows[:6]


def test_thin_slices_have_answers_of_their_own_and_come_by_name(root: Path, tmp_path: Path) -> None:
    """`predict` averages three of them into one; without a sample the rows are those of the files."""
    files = stack(tmp_path / "thin", 1.7, 3)
    for file in sorted(files.iterdir()):
        file.rename(file.with_name(f"ID_{9 - int(file.stem)}.dcm"))
    rows, _ = submit(root, files, "--variant", "mean")
    assert [name for name, _ in rows[::6]] == [f"ID_{n}_{SUBTYPES[0]}" for n in range(1, 10)]
    first, second = (rows[6 * n + 5][1] for n in (0, 3))  # three slices of one picture, then those of the next
    assert [rows[6 * n + 5][1] for n in range(6)] == pytest.approx([first] * 3 + [second] * 3)
    assert abs(first - second) > 1e-4


def test_what_is_missing_or_cannot_be_read_is_named_and_filled_only_if_asked(root: Path, tmp_path: Path) -> None:
    for name in ("ID_a", "ID_b"):
        write_dicom(tmp_path / f"{name}.dcm", flat(30), SOPInstanceUID=name)
    order = sample(tmp_path / "sample.csv", ["ID_a", "ID_x", "ID_y", "ID_b"])
    _, result = submit(root, tmp_path / "ID_a.dcm", tmp_path / "ID_b.dcm", "--order", order, status=2)
    assert "2 slices have no answer (ID_x, ID_y; " in result.output and "no file" in result.output
    cut = tmp_path / "ID_x.dcm"
    write_dicom(cut, flat(0), SOPInstanceUID="ID_x")
    cut.write_bytes(cut.read_bytes()[:-1000])
    write_dicom(tmp_path / "ID_y.dcm", flat(0), Modality="MR")
    _, result = submit(root, tmp_path, "--order", order, status=2)
    assert "repeat with --fill" in result.output and "ID_y" in result.output
    rows, result = submit(root, tmp_path, "--order", order, "--fill")
    found = dict(rows)
    shares = dict(zip(LABELS, np.array(POSITIVE) / 100, strict=True))
    for id_ in ("ID_x", "ID_y"):
        assert [found[f"{id_}_{name}"] for name in SUBTYPES] == [max(1e-3, shares[name]) for name in SUBTYPES]
    assert "truncated" in result.output and "not-ct" in result.output and "2 slices of them filled" in result.output
    assert found["ID_a_any"] != shares["any"]
    (tmp_path / "more").symlink_to(root, target_is_directory=True)
    _, result = submit(root, tmp_path, "--order", order, status=2)
    assert "more: linked-folder" in result.output


def test_what_is_no_sample_and_no_kaggle_file_is_refused(root: Path, tmp_path: Path) -> None:
    write_dicom(tmp_path / "slice.dcm", flat(30))
    for content, why in (("name,p\na,1\n", "no sample submission"), ("ID,Label\nID_a,0\n", "row 'ID_a' is no ID_<")):
        (tmp_path / "wrong.csv").write_text(content)
        assert why in submit(root, tmp_path / "slice.dcm", "--order", tmp_path / "wrong.csv", status=2)[1].output
    assert "is not named as Kaggle's files" in submit(root, tmp_path / "slice.dcm", status=2)[1].output
