import json
from pathlib import Path

import numpy as np
import pytest

from backbones.feature_cnn import build, save_weights
from corpus.images import Images
from ct.dicom import read_headers, read_slice
from settings.errors import BadArtifact
from tests.backbones import made
from tests.ct.files import write_dicom
from tests.vit.foreign import SMALL, VARIANTS, make_artifacts, sources_of
from vit import predict as rebuilt
from vit.head import predict
from vit.predict import load_model, picture, series_logits


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two patients with five slices each, oblong and 80 × 64 pixels large."""
    root = tmp_path_factory.mktemp("predict")
    random = np.random.default_rng(1)
    for number in range(10):
        coarse = random.integers(980, 1120, (10, 8)).astype(np.uint16)
        write_dicom(
            root / f"raw/{number}.dcm",
            coarse.repeat(8, axis=0).repeat(8, axis=1),
            PatientID=f"p{number // 5}",
            SeriesInstanceUID=f"s{number // 5}",
            ImagePositionPatient=["0", "0", str(5 * number)],
        )
    make_artifacts(root / "raw", root / "artifacts", list(VARIANTS))
    return root


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_give_what_evaluate_gives_for_the_same_slices_of_the_corpus(
    artifacts: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached maps came from other batches: their last bit may differ before they are rounded to fp16."""
    monkeypatch.setattr(rebuilt, "BATCH", 2)  # of five slices in a series
    folder = artifacts / "artifacts"
    accelerator, decisions = made.machine()
    sources = sources_of(folder, variant)
    index = Images(folder / "ct/images-32").index
    series = index["series"].to_pylist()
    expected = predict(folder / "vit" / variant, sources, np.arange(10), accelerator, decisions, 3)
    model = load_model(folder, variant, accelerator.device, decisions)
    place = {read_headers(path)[0].position: path for path in (artifacts / "raw").iterdir()}
    found = np.empty_like(expected)
    for name in set(series):
        rows = [row for row in range(10) if series[row] == name]
        positions = [index["position"][row].as_py() for row in rows]
        pictures = ((mm, picture(read_slice(place[mm].read_bytes()), model)) for mm in positions)
        found[rows] = series_logits(model, pictures)
    apart = expected.std(axis=0).max()
    assert apart > 5e-3, "the slices have different answers"
    np.testing.assert_allclose(found, expected, atol=0.02 * apart)


def test_pictures_are_the_corpus_pixel_for_pixel(artifacts: Path) -> None:
    accelerator, decisions = made.machine()
    model = load_model(artifacts / "artifacts", "two", accelerator.device, decisions)
    for side in (32, 48):
        corpus = Images(artifacts / f"artifacts/ct/images-{side}")
        for path in (artifacts / "raw").iterdir():
            row = corpus.column("position").index(read_headers(path)[0].position)
            np.testing.assert_array_equal(
                picture(read_slice(path.read_bytes()), model)[side], corpus.read_windows([row])[0]
            )


def test_a_series_of_which_nothing_could_be_read_has_no_answers(artifacts: Path) -> None:
    accelerator, decisions = made.machine()
    model = load_model(artifacts / "artifacts", "series", accelerator.device, decisions)
    assert series_logits(model, []).shape == (0, 6)


def test_parts_that_do_not_belong_together_are_refused(artifacts: Path, tmp_path: Path) -> None:
    accelerator, decisions = made.machine()
    for name, key, value, reason in (
        ("features/b", "grid", [5, 5], "was not trained on the CNN b that is here; run `dvc repro`"),
        ("vit/two", "windows", None, "names no windows; rerun vit-train@two"),
    ):
        card = artifacts / f"artifacts/{name}/card.json"
        kept = card.read_text()
        changed = {**json.loads(kept), key: value}
        card.write_text(json.dumps({key: value for key, value in changed.items() if value is not None}))
        with pytest.raises(BadArtifact, match=reason):
            load_model(artifacts / "artifacts", "two", accelerator.device, decisions)
        card.write_text(kept)
    weights = artifacts / "artifacts/features/b/model.safetensors"
    kept_weights = weights.read_bytes()
    other = build(SMALL, 6, 1e-5)
    save_weights(other, weights.parent)  # fits, with its card as it is
    with pytest.raises(BadArtifact, match="vit/two: was not trained on the CNN b that is here; run `dvc repro`"):
        load_model(artifacts / "artifacts", "two", accelerator.device, decisions)
    weights.write_bytes(kept_weights)
    load_model(artifacts / "artifacts", "two", accelerator.device, decisions)
    with pytest.raises(BadArtifact, match=r"vit/none: no card\.json"):
        load_model(artifacts / "artifacts", "none", accelerator.device, decisions)
