import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from commands import export_onnx as room
from commands.export_onnx import difference, export_onnx
from corpus.card import write_card
from gan.networks import FORWARD, Generator, save_generator
from settings.errors import WrongEnvironment
from tests.commands.untouched import untouched


@pytest.fixture
def translator(tmp_path: Path) -> Path:
    folder = tmp_path / "gan"
    folder.mkdir()
    torch.manual_seed(0)
    save_generator(Generator(2, 1), folder / FORWARD)
    content = {"hu_range": [-150, 230], "windows": [[40, 80], [80, 200], [40, 380]]}
    write_card(folder, "translator", generator={"filters": 2, "blocks": 1}, **content)
    return folder


def test_onnxruntime_computes_what_torch_does_at_any_size(
    translator: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    target = translator.parent / "there/generator.onnx"
    with untouched(translator):
        export_onnx(translator, target)
    assert "of an 8-bit level from torch" in capsys.readouterr().out
    session = runtime.InferenceSession(str(target))
    assert session.get_modelmeta().custom_metadata_map["hu_range"] == "[-150, 230]"
    photos = torch.rand(5, 1, 24, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.manual_seed(0)
    with torch.no_grad():
        expected = Generator(2, 1)(photos).numpy()
    assert np.abs(session.run(["ct"], {"photos": photos.numpy()})[0] - expected).max() < 1e-5
    # One that computes something else never gets its name: here the weights have changed.
    stale = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=lambda path: shutil.copy(target, path))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: stale)
    save_generator(Generator(2, 1), translator / FORWARD)
    with pytest.raises(WrongEnvironment, match="levels from torch, at most"):
        export_onnx(translator, translator / "wrong.onnx")
    assert not list(translator.glob("wrong*"))


def test_the_check_measures_in_levels() -> None:
    generator = torch.nn.Identity()
    assert difference(generator, lambda photos: photos, 1) == 0
    assert difference(generator, lambda photos: photos + np.float32(2 / 255), 1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", room.PACKAGES)
def test_a_missing_package_is_named(translator: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(WrongEnvironment, match=f"the package {name} is not installed; pip install onnx"):
        export_onnx(translator, translator / "generator.onnx")
