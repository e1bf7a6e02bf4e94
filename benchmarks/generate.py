"""How near does gan-generate come to the rate of the generator alone?

    python -m benchmarks.generate [--quick] [--device cpu] [--out benchmarks/results/generate.json]

The stage's path is everything that it does: read shards, make luminance, run the generator, round, write shards and
contact sheets, link, index, card. The bare generator runs on the same number of images in batches of the same size that
lie on the device already, and its results are dropped. Both run in turns in one process, computing as this machine
decides (`training/precision.py`); the share is the median over the turns. Photos are drawn into a temporary folder and
are read from the page cache. `--quick` takes fewer and smaller ones: a minute on two free cores.
With `--device cuda` batches are four times as large; no GPU has run this so far.
"""

import json
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
import torch
from rich.console import Console
from torch import Tensor

from corpus.card import write_card
from gan.generate import generate
from gan.networks import FORWARD, Generator, load_generator, save_generator
from gan.parameters import GanGenerate
from photos.parameters import Drawn
from photos.prepare import prepare_drawn
from settings.machine import processor_name
from settings.places import ROOT, Local, workers
from training.precision import Decisions
from training.ranks import start

WANTED = {"cpu": 0.85, "cuda": 0.9}
LIBRARIES = ("torch", "accelerate", "numpy", "pillow")
CLASSES = 8
CARD = {"hu_range": [-150.0, 230.0], "windows": [[40, 80], [80, 200], [40, 380]]}


class Size(NamedTuple):
    """Side in pixels, generator filters, residual blocks, photos in a batch, photos, turns."""

    side: int
    filters: int
    blocks: int
    batch: int
    photos: int
    turns: int

    def __str__(self) -> str:
        return f"{self.side}²/{self.filters}/{self.blocks}/{self.batch}"


FULL: tuple[Size, ...] = (Size(96, 32, 6, 32, 768, 5), Size(256, 64, 9, 8, 48, 3))
QUICK: tuple[Size, ...] = (Size(96, 32, 6, 32, 128, 3),)


def bare(generator: Generator, images: Tensor, count: int, decisions: Decisions) -> None:
    """The generator on `count` images, a batch of which is given again and again."""
    with torch.inference_mode(), decisions.autocast():
        for at in range(0, count, len(images)):
            generator(images[: count - at])
    if images.is_cuda:
        torch.cuda.synchronize()


def measure(size: Size, local: Local, folder: Path) -> dict[str, Any]:
    """Images a second of both, turn by turn, and the share of the bare rate that the stage keeps."""
    accelerator, decisions = start(local)
    photos, translator = folder / "photos", folder / "translator"
    for path in (photos, translator):
        path.mkdir(parents=True)
    parameters = Drawn(classes=CLASSES, per_class=size.photos // CLASSES, held_out_share=0.25, seed=0)
    prepare_drawn(parameters, size.side, folder / "drawing", photos, workers(local))
    torch.manual_seed(0)
    save_generator(Generator(size.filters, size.blocks), translator / FORWARD)
    write_card(translator, "translator", generator={"filters": size.filters, "blocks": size.blocks}, **CARD)
    generator = load_generator(translator)[0].to(accelerator.device)
    images = torch.rand(size.batch, 1, size.side, size.side).to(accelerator.device) * 2 - 1
    chosen = GanGenerate(batch=size.batch, side=None)

    def stage() -> None:
        for name in ("work", "out"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir()
        generate(translator, photos, chosen, folder / "work", folder / "out", accelerator, decisions)

    runs: dict[str, Callable[[], None]] = {
        "bare": lambda: bare(generator, images, size.photos, decisions),
        "stage": stage,
    }
    bare(generator, images, size.batch, decisions)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(size.turns):
        for name in (list(runs), list(runs)[::-1])[turn % 2]:  # neither always comes second
            started = time.perf_counter()
            runs[name]()
            rates[name].append(size.photos / (time.perf_counter() - started))
    share = statistics.median(s / b for s, b in zip(rates["stage"], rates["bare"], strict=True))
    return {"size": str(size), "photos": size.photos, "images_a_second": rates, "share": share, **decisions.as_dict()}


def _machine(device: str) -> dict[str, Any]:
    if device == "cuda":
        return {"gpu": torch.cuda.get_device_name()}
    return {"processor": processor_name(), "cores": psutil.cpu_count(), "load": psutil.getloadavg()[0]}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer photos and turns, 96² alone.")
@click.option("--device", type=click.Choice(("cpu", "cuda")), default="cpu")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/generate.json")
def main(quick: bool, device: str, out: Path) -> None:
    """Measure, print, and write the figures to a JSON file."""
    sizes = QUICK if quick else FULL
    if device == "cuda":
        sizes = tuple(size._replace(batch=4 * size.batch, photos=16 * size.photos) for size in sizes)
    machine, found = _machine(device), []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(size, Local.model_validate({"device": device}), Path(folder)))
    console = Console(soft_wrap=True)
    for row in found:
        rates = {name: statistics.median(values) for name, values in row["images_a_second"].items()}
        console.print(
            f"{row['size']}, {row['precision']}: bare {rates['bare']:.1f}, stage {rates['stage']:.1f} images/s, "
            f"share {row['share']:.1%} (wanted ≥ {WANTED[device]:.0%})"
        )
    versions = {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"quick": quick, "device": device, "machine": machine, "versions": versions, "sizes": found}
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
