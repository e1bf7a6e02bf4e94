import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.card import write_card
from corpus.images import Images
from corpus.shards import write_shard
from gan.generate import generate
from gan.networks import FORWARD, Generator, load_generator, save_generator
from gan.parameters import GanGenerate
from settings.errors import BadArtifact
from settings.places import ROOT
from tests.gan.made import HU_RANGE, PHOTO_SIDE, WINDOWS, machine, make_corpora


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    make_corpora(tmp_path)
    folder = tmp_path / "artifacts/gan"
    folder.mkdir()
    torch.manual_seed(0)
    save_generator(Generator(2, 1), folder / FORWARD)
    write_card(folder, "translator", generator={"filters": 2, "blocks": 1}, hu_range=HU_RANGE, windows=WINDOWS)
    return tmp_path / "artifacts"


def translate_all(artifacts: Path, name: str = "out", work: str = "work", **change: int | None) -> Path:
    for folder in (artifacts / name, artifacts / work):
        folder.mkdir(exist_ok=True)
    chosen = GanGenerate(**{"batch": 4, "side": None, **change})  # type: ignore[arg-type]
    count = generate(artifacts / "gan", artifacts / "photos", chosen, artifacts / work, artifacts / name, *machine())
    assert count == 14
    return artifacts / name


def test_the_corpus_is_the_photos_in_hounsfield_units(artifacts: Path) -> None:
    photos, made = Images(artifacts / "photos"), Images(translate_all(artifacts), "hu")
    assert made.index.equals(photos.index)
    assert (
        made.card["classes"] == ["n0", "n1"] and made.card["hu_range"] == HU_RANGE and made.card["windows"] == WINDOWS
    )
    assert made.shards.row_shape == (PHOTO_SIDE, PHOTO_SIDE, 1) and made.shards.dtype == np.uint8
    generator, _ = load_generator(artifacts / "gan")
    photo = torch.from_numpy(photos.shards.read([13])).float()
    luma = (photo @ torch.tensor([0.299, 0.587, 0.114]))[:, None] / 127.5 - 1
    expected = (generator(luma)[0, 0].detach() + 1) * 127.5
    assert np.abs(made.shards.read([13])[0, ..., 0] - expected.numpy()).max() <= 0.51
    assert made.read_windows([0]).shape == (1, PHOTO_SIDE, PHOTO_SIDE, 3)


def test_side_is_a_parameter(artifacts: Path) -> None:
    assert Images(translate_all(artifacts, side=32)).side == 32


KILLED = """
import os, signal, sys
from pathlib import Path
from corpus import derive as room
from gan.generate import generate
from tests.gan.made import GENERATE, machine
folder, work, out = map(Path, sys.argv[1:])
original = room.write_shard
def dies(folder, number, rows):
    if number == 5:
        (folder / "images-00005.part").write_bytes(rows.tobytes()[:100])
        os.kill(os.getpid(), signal.SIGKILL)
    return original(folder, number, rows)
room.write_shard = dies
generate(folder / "gan", folder / "photos", GENERATE, work, out, *machine())
"""


def test_kill_9_costs_a_shard_and_changes_no_byte(artifacts: Path) -> None:
    whole, work = translate_all(artifacts, "whole", "w1", batch=2), artifacts / "w2"
    for folder in (work, artifacts / "lost"):
        folder.mkdir()
    words = [sys.executable, "-c", KILLED, str(artifacts), str(work), str(artifacts / "lost")]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    times = {path: path.stat().st_mtime_ns for path in work.glob("*.npy")}
    assert len(times) == 5 and not list((artifacts / "lost").iterdir())
    again = translate_all(artifacts, "again", "w2", batch=2)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert {p.name: p.read_bytes() for p in whole.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}


def test_another_number_of_images_in_a_class_is_an_error(artifacts: Path) -> None:
    (artifacts / "work").mkdir()
    write_shard(artifacts / "work", 1, np.zeros((0, PHOTO_SIDE, PHOTO_SIDE, 1), dtype=np.uint8))
    with pytest.raises(BadArtifact, match="class n1 has 6 images for 7 photos"):
        translate_all(artifacts)
