from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.card import write_card
from corpus.images import Images
from corpus.shards import Shards
from gan.networks import FORWARD, Generator, save_generator
from settings.places import Local
from stages import run as stages_run
from stages.control_corpus import run
from stages.gan_generate import run as generate
from stages.run import Job
from tests.gan.made import HU_RANGE, HU_SIDE, PARAMETERS, PHOTO_SIDE, WINDOWS, make_corpora

PHOTOS, SLICES, IDS = "artifacts/photos", f"artifacts/ct/hu-{HU_SIDE}", "artifacts/split/train-ids.parquet"
KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "grey": ({"kind": "grey"}, [PHOTOS]),
    "restyled": ({"kind": "histogram", "crops": 50, "seed": 0}, [PHOTOS, SLICES, IDS]),
    "fourier": ({"kind": "fourier", "crops": 50, "low_frequencies": 0.1, "seed": 0}, [PHOTOS, SLICES, IDS]),
    "permuted": ({"kind": "permuted", "seed": 1}, ["artifacts/translated"]),
    "untrained": ({"kind": "untrained", "seed": 0}, ["artifacts/gan", PHOTOS]),
}


def execute(root: Path, name: str, inputs: list[str], out: str, **given: Any) -> Path:
    """Run a stage's job and put its out into place."""
    work = root / "work" / f"{name}-{out.replace('/', '-')}"
    work.mkdir(parents=True, exist_ok=True)
    parameters = {
        "seed": 5, "windows": dict(zip("abc", WINDOWS, strict=True)), "prepare_ct": {"hu_side": HU_SIDE},
        "gan_train": PARAMETERS, "gan_generate": {"batch": 4, "side": None}, **given,
    }  # fmt: skip
    job = Job(name, parameters, work, Local(device="cpu", precision="fp32"), frozenset(inputs), frozenset([out]))
    job.out(out).mkdir(parents=True)
    (generate if name == "gan-generate" else run)(job)
    job.out(out).rename(root / out)
    return root / out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The translated corpus and every control of it, by name; and what slices were read."""
    root = tmp_path_factory.mktemp("controls")
    make_corpora(root, photos=8)
    folder = root / "artifacts/gan"
    folder.mkdir()
    torch.manual_seed(0)
    save_generator(Generator(2, 1), folder / FORWARD)
    write_card(folder, "translator", generator={"filters": 2, "blocks": 1}, hu_range=HU_RANGE, windows=WINDOWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages_run, "ROOT", root)
        folders = {"translated": execute(root, "gan-generate", ["artifacts/gan", PHOTOS], "artifacts/translated")}
        slices: set[int] = set()
        read = Shards.read

        def noted(self: Shards, rows: Any) -> Any:
            if self.folder.name == f"hu-{HU_SIDE}":
                slices.update(int(row) for row in rows)
            return read(self, rows)

        patch.setattr(Shards, "read", noted)
        for name, (entry, inputs) in KINDS.items():
            out = f"artifacts/controls/{name}"
            folders[name] = execute(root, f"control-corpus@{name}", inputs, out, corpora={name: entry})
    return {name: Images(folder, "hu") for name, folder in folders.items()}, slices, root


def test_all_have_the_form_of_the_translated_corpus(made: Any) -> None:
    corpora, _, _ = made
    translated = corpora["translated"]
    for name in KINDS:
        corpus = corpora[name]
        assert corpus.card == translated.card, name
        assert corpus.shards.row_shape == (PHOTO_SIDE, PHOTO_SIDE, 1) and corpus.shards.dtype == np.uint8
        assert [len(part) for part in corpus.shards._maps] == [len(part) for part in translated.shards._maps]
        assert corpus.index.schema == translated.index.schema
        columns = ("id", "part") if name == "permuted" else corpus.index.column_names
        assert all(corpus.column(column) == translated.column(column) for column in columns), name
        assert (corpus.folder / "contact.png").exists()


def test_each_differs_from_the_others_only_in_what_it_should(made: Any) -> None:
    corpora, _, root = made
    pixels = {name: corpus.shards.read(np.arange(8)) for name, corpus in corpora.items()}
    labels = {name: corpus.column("label") for name, corpus in corpora.items()}
    assert np.array_equal(pixels["permuted"], pixels["translated"])
    assert labels["permuted"] != labels["translated"] and sorted(labels["permuted"]) == sorted(labels["translated"])
    assert all(labels[name] == labels["translated"] for name in KINDS if name != "permuted")
    others = [name for name in pixels if name != "permuted"]
    for i, one in enumerate(others):
        assert all(not np.array_equal(pixels[one], pixels[other]) for other in others[:i])
    photos = Images(root / PHOTOS).shards.read(np.arange(8)).astype(np.float64)
    luma = photos @ (0.299, 0.587, 0.114)
    assert np.abs(pixels["grey"][..., 0] - luma).max() <= 0.51
    # Train slices' tissue has levels 90 … 179, air 0; between them lies the heads' edge. Held-out slices are white.
    restyled = pixels["restyled"][:4]
    assert ((restyled == 0) | (restyled >= 90)).mean() > 0.9 and restyled.max() < 180


def test_restyling_reads_train_patients_slices_alone(made: Any) -> None:
    _, slices, _ = made
    assert slices == set(range(5))


def test_the_untrained_generator_has_the_seeds_weights(made: Any) -> None:
    corpora, _, root = made
    torch.manual_seed(5 + 0)
    generator = Generator(2, 1).eval()
    photo = torch.from_numpy(Images(root / PHOTOS).shards.read([2])).float()
    luma = (photo @ torch.tensor([0.299, 0.587, 0.114]))[:, None] / 127.5 - 1
    with torch.no_grad():
        expected = (generator(luma)[0, 0] + 1) * 127.5
    assert np.abs(corpora["untrained"].shards.read([2])[0, ..., 0] - expected.numpy()).max() <= 0.51


def test_they_are_made_again_to_the_byte(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora, _, root = made
    monkeypatch.setattr(stages_run, "ROOT", root)
    entry, inputs = KINDS["fourier"]
    again = execute(root, "control-corpus@again", inputs, "artifacts/controls/again", corpora={"again": entry})
    for path in corpora["fourier"].folder.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
