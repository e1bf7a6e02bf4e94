import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn

from audit.classifier import classify, load_timm
from settings.errors import BadInput, BadParameter
from training.precision import Decisions

NAME = "test_efficientnet.r160_in1k"  # timm's own miniature
FP32 = Decisions("cpu", "fp32", False, torch.get_num_threads())


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def weights(folder: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    network = timm.create_model(NAME).eval()
    stored = {name: value.half() for name, value in network.state_dict().items() if "num_batches" not in name}
    save_file(stored, folder / "w.safetensors")
    network.load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    return folder / "w.safetensors", network


def test_logits_are_timms_own(tmp_path: Path, accelerator: Accelerator) -> None:
    file, network = weights(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    columns = np.array([7, 3, 500])
    found = classify(load_timm(NAME, file, 32), images, columns, 2, accelerator, FP32)
    scale: Any = network.pretrained_cfg
    mean, std = (torch.tensor(scale[key]) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = network(((torch.tensor(images).float() / 255 - mean) / std).permute(0, 3, 1, 2))[:, columns]
    assert found.shape == (5, 3) and np.allclose(found, expected, atol=1e-4)
    assert np.allclose(found, classify(load_timm(NAME, file, 32), images, columns, 5, accelerator, FP32), atol=1e-5)


def test_images_are_resized_to_the_classifiers_side(tmp_path: Path, accelerator: Accelerator) -> None:
    file, _ = weights(tmp_path)
    images = np.full((1, 48, 48, 3), 77, np.uint8)
    model = load_timm(NAME, file, 32)
    large, small = (classify(model, part, None, 1, accelerator, FP32) for part in (images, images[:, :32, :32]))
    assert np.allclose(large, small, atol=1e-5)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    file, _ = weights(tmp_path)
    with pytest.raises(BadParameter, match="timm has no"):
        load_timm("no_such_network", file, 32)
    with pytest.raises(BadInput, match=r"w\.safetensors is not of resnet18"):
        load_timm("resnet18", file, 32)


def test_ranks_share_the_rows(accelerator: Accelerator) -> None:
    """Each of three ranks computes its rows; what `gather` gives is put back in order."""
    images = np.arange(7, dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)

    class First(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, 0, 0, :2].float()

    class Rank:
        num_processes, device = 3, torch.device("cpu")

        def __init__(self, rank: int, gathered: list[torch.Tensor]) -> None:
            self.process_index, self.gathered = rank, gathered

        def gather(self, mine: torch.Tensor) -> torch.Tensor:
            self.gathered.append(mine)
            return torch.cat([*self.gathered, *[torch.zeros_like(mine)] * (3 - len(self.gathered))])

    gathered: list[torch.Tensor] = []
    for rank in range(3):
        found = classify(First(), images, None, 2, Rank(rank, gathered), FP32)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_the_held_out_classifier_on_real_photos(accelerator: Accelerator) -> None:
    if not (data := os.environ.get("SCOPEFORMER_REAL_DATA")):
        pytest.skip("SCOPEFORMER_REAL_DATA names no folder with imagenet/ and weights/")
    from photos.folder import read_photo

    root = Path(data) / "imagenet"
    words = [line.split()[0] for line in (root / "synset_words.txt").read_text().splitlines()]
    classes = sorted(path.name for path in (root / "val").iterdir())
    files = [
        (label, file) for label, wnid in enumerate(classes) for file in sorted((root / "val" / wnid).iterdir())[:2]
    ]
    model = load_timm(
        "tf_efficientnet_lite0", Path(data) / "weights/tf_efficientnet_lite0_imagenet_fp16.safetensors", 224
    )
    images = np.stack([read_photo(file.read_bytes(), 224) for _, file in files])
    columns = np.array([words.index(wnid) for wnid in classes])
    logits = classify(model, images, columns, 10, accelerator, FP32)
    assert (logits.argmax(1) == [label for label, _ in files]).mean() >= 0.95
