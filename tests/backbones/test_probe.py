from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from backbones.extractor import Extractor
from backbones.probe import fit_probe
from corpus.images import Images, finish_images
from corpus.shards import write_shard
from tests.backbones.made import machine


class Means(nn.Module):
    """Features by hand: the mean of each channel, on unequal scales."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) * torch.tensor([1.0, 10.0, 0.1])


def photos(folder: Path, classes: int) -> Images:
    """Colours that overlap a little: class i is brighter in channel i."""
    folder.mkdir()
    random = np.random.default_rng(0)
    labels = np.arange(60) % classes
    pixels = random.integers(60, 160, (60, 1, 1, 3)) + random.integers(-20, 20, (60, 8, 8, 3))
    pixels[np.arange(60), :, :, labels] += 50
    write_shard(folder, 0, pixels.astype(np.uint8))
    index = pa.table({"id": [str(i) for i in range(60)], "label": pa.array(labels.tolist(), pa.int32())})
    finish_images(folder, "photos", index, [], classes=[f"n{i}" for i in range(3)])
    return Images(folder, "photos")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_is_scikit_learns_on_the_rows_it_is_given_and_differentiable(tmp_path: Path, classes: int) -> None:
    corpus, rows = photos(tmp_path / "photos", classes), np.arange(40)
    extractor = Extractor(Means(), "means", 8)
    probe = fit_probe(extractor, corpus, rows, *machine())
    x = (torch.from_numpy(corpus.shards.read(np.arange(60))).permute(0, 3, 1, 2) / 127.5 - 1).requires_grad_()
    logits = probe(x)
    features = extractor(x).detach().numpy()
    scaled = (features - features[:40].mean(0)) / features[:40].std(0)
    theirs = LogisticRegression().fit(scaled[:40], np.arange(40) % classes)
    found = logits.softmax(1).detach().numpy()
    assert np.abs(found[:, :classes] - theirs.predict_proba(scaled)).max() < 1e-2
    assert found[:, classes:].max(initial=0) < 1e-6, "a class without a photo"
    assert (found.argmax(1) == np.arange(60) % classes)[40:].mean() > 0.6
    logits[:, 0].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert not [p for p in probe.parameters() if p.requires_grad]
