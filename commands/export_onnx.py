"""`pipeline.py export --onnx FILE`: the generator for runtimes without torch; checked before it is there."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch

from gan.networks import load_generator
from settings.errors import WrongEnvironment

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 0.1  # of an 8-bit level, 1/127.5 of the network's range
SHAPES = ((1, 32, 32), (3, 64, 48))  # (n, H, W) of the check

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def export_onnx(translator: Path, target: Path) -> None:
    """Write the averaged generator of a translator's artifact as ONNX.

    Input "photos": float32 n×1×H×W, luminance in -1…1; output "ct": the same shape, the HU range of the card in -1…1.
    n is free, H and W are any multiples of 4. HU range and windows stand in the file's metadata. The file appears once
    onnxruntime's outputs are within a tenth of an 8-bit level of torch's at two shapes; WrongEnvironment otherwise, and
    where a package is missing.
    """
    _, _, runtime = (_package(name) for name in PACKAGES)
    generator, card = load_generator(translator)
    channels = next(generator.parameters()).shape[1]
    images, rows, columns = torch.export.Dim("images"), *(torch.export.Dim(n, min=4) for n in ("rows", "columns"))
    program = torch.onnx.export(
        generator,
        (torch.zeros(2, channels, 32, 32),),
        dynamo=True,
        dynamic_shapes=({0: images, 2: 4 * rows, 3: 4 * columns},),
        input_names=["photos"],
        output_names=["ct"],
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update({"hu_range": str(card["hu_range"]), "windows": str(card["windows"])})
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(part))
    session = runtime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    furthest = difference(generator, lambda photos: session.run(None, {"photos": photos})[0], channels)
    if furthest > TOLERANCE:
        part.unlink()
        raise WrongEnvironment(
            f"{target}: onnxruntime {runtime.__version__} is up to {furthest:.2g} levels from torch, at most {TOLERANCE} "
            "may be; nothing was written: install the versions of requirements-dev.txt"
        )
    part.replace(target)
    print(f"export: {target}: at most {furthest:.1g} of an 8-bit level from torch")


def difference(generator: torch.nn.Module, run: Run, channels: int) -> float:
    """Largest difference between the generator and another form of it on random images, in 8-bit levels."""
    random = torch.Generator().manual_seed(0)
    found = []
    for count, height, width in SHAPES:
        photos = torch.rand(count, channels, height, width, generator=random) * 2 - 1
        with torch.inference_mode():
            expected = generator(photos).numpy()
        found.append(float(np.abs(run(photos.numpy()) - expected).max()) * 127.5)
    return max(found)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise WrongEnvironment(
            f"--onnx: the package {error.name} is not installed; pip install {' '.join(PACKAGES)}"
        ) from None
