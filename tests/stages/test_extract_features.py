from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.augment import to_input
from backbones.feature_cnn import FeatureCnn, load_cnn
from corpus.images import Images
from corpus.shards import Shards
from tests.backbones.stages import CNN, FINETUNE, IMAGES, PRETRAIN, SPLIT, checkout, execute


def features(root: Path, monkeypatch: pytest.MonkeyPatch, cnn: dict[str, Any], source: str) -> Path:
    given = {"extract_features": {"batch": 5, "cache": True}, "cnns": {"a": cnn}}
    return execute(root, monkeypatch, "extract-features@a", given, [IMAGES, source], "artifacts/features/a")


@pytest.mark.parametrize("trained_on", ["ct", "nothing"])
def test_maps_are_those_of_the_cnn_that_the_table_names(
    trained_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path)
    if trained_on == "ct":
        source = "artifacts/cnns/a"
        given = {"cnn_finetune": FINETUNE, "cnns": {"a": CNN}}
        execute(tmp_path, monkeypatch, "cnn-finetune@a", given, [IMAGES, *SPLIT], source)
    else:
        source = "artifacts/pretrained/photos"
        given = {"corpus_pretrain": PRETRAIN}
        execute(tmp_path, monkeypatch, "corpus-pretrain@photos", given, ["artifacts/photos"], source)
    cnn = {**CNN, "trained_on": trained_on, "start": "imagenet"}
    shards = Shards(features(tmp_path, monkeypatch, cnn, source), "maps")
    model, _ = load_cnn(tmp_path / source)
    pixels = torch.from_numpy(Images(tmp_path / IMAGES).shards.read(np.arange(36)))
    expected = FeatureCnn(model, "layer3")(to_input(pixels, 32)).half().numpy()
    np.testing.assert_allclose(shards.read(np.arange(36)), expected, rtol=2e-3, atol=2e-3)
