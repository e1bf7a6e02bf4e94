from pathlib import Path

import pytest
import torch

from corpus.card import write_card
from corpus.images import Images
from gan.networks import FORWARD, Generator, save_generator
from stages.gan_generate import run
from tests.evaluation.jobs import make_job
from tests.gan.made import HU_RANGE, WINDOWS, make_corpora


def test_every_photo_is_translated_and_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_corpora(tmp_path)
    folder = tmp_path / "artifacts/gan"
    folder.mkdir()
    torch.manual_seed(0)
    save_generator(Generator(2, 1), folder / FORWARD)
    write_card(folder, "translator", generator={"filters": 2, "blocks": 1}, hu_range=HU_RANGE, windows=WINDOWS)
    inputs = ["artifacts/gan", "artifacts/photos"]
    given = {"gan_generate": {"batch": 3, "side": 32}}
    job = make_job(tmp_path, monkeypatch, "gan-generate", given, inputs, ["artifacts/translated"])
    run(job)
    made = Images(job.out("artifacts/translated"), "hu")
    assert made.column("part").count("val") == 4 and made.side == 32
    assert list(job.work.glob("images-*.npy")), "shards stay for a run that is killed"
    assert "14 photos translated" in capsys.readouterr().out
