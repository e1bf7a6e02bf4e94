"""How much does the cache save? An epoch of a head on cached maps of two Xceptions against running the CNNs for it.

    python -m benchmarks.head [--slices 512] [--side 224] [--turns 3] [--out benchmarks/results/head.json]

Slices are noise (a CNN's time does not depend on them), CNNs have random weights, the head is the paper's small one on
the ViT of `params.yaml`. Both ways run the same steps of `vit.train.HeadTraining` (forward, backward, AdamW) over all
slices once, with reading from the page cache; recomputing draws no random views, so that it does the least it can. They
run in turns and the ratio is the median over the turns. Extraction is timed once: what the cache costs.
"""

import json
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table

from backbones.feature_cnn import build
from backbones.features import Frozen, extract
from corpus.images import Images, finish_images
from corpus.shards import write_shard
from ct.labels import LABELS
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.places import ROOT, Local
from training.loop import Run
from training.ranks import start
from vit.head import build_head
from vit.inputs import Inputs
from vit.parameters import Shape, Vit, VitTrain
from vit.train import HeadTraining

STILL = {"flip": False, "rotate": 0.0, "shift": 0.0}
LIBRARIES = ("torch", "timm", "numpy")


def draw(folder: Path, slices: int, side: int) -> Images:
    """A corpus of noise."""
    folder.mkdir()
    write_shard(folder, 0, np.random.default_rng(0).integers(0, 256, (slices, side, side, 3), dtype=np.uint8))
    index = {"id": [f"{n:06d}" for n in range(slices)], "series": ["s"] * slices}
    position = pa.array(np.arange(slices) * 5.0, pa.float32())
    finish_images(folder, "windows", pa.table({**index, "position": position}), [], windows=[[40, 80]] * 3)
    return Images(folder, "windows")


def epoch(task: HeadTraining, slices: int) -> float:
    """Seconds for one pass."""
    started = time.perf_counter()
    for seen in range(0, slices, task.run.batch):
        loss = task.step(task.read(seen), seen)["loss"]
    float(loss)  # waits for the device
    return time.perf_counter() - started


def measure(work: Path, architecture: str, stage: str, slices: int, side: int, turns: int) -> dict[str, Any]:
    """Seconds of an epoch either way, by turn, and of the extraction of both CNNs."""
    params = load_yaml(ROOT / "params.yaml")
    vit = read_section(Vit, params["vit"], "vit")
    parameters = read_section(VitTrain, {**params["vit_train"], **STILL}, "vit_train")
    accelerator, decisions = start(Local())
    images = draw(work / "ct", slices, side)
    folders: dict[bool, list[Path]] = {True: [], False: []}
    extracting = 0.0
    for cache in (True, False):
        for number in range(2):
            out, state = work / f"{cache}-{number}", work / f"work-{cache}-{number}"
            out.mkdir()
            state.mkdir()
            torch.manual_seed(number)
            frozen = Frozen(f"cnn-{number}", build(architecture, 1, 1e-5), architecture, 1, 1e-5, stage)
            started = time.perf_counter()
            extract(frozen, images, 32, cache, state, out, accelerator, decisions)
            extracting += (time.perf_counter() - started) * cache
            folders[cache].append(out)
    tasks = {}
    fit = (np.arange(slices), np.random.default_rng(1).integers(0, 2, (slices, len(LABELS))).astype(np.float32))
    for cache, sources in folders.items():
        inputs = Inputs(sources, images=lambda side: work / "ct")
        torch.manual_seed(0)
        shape = Shape(encoder="vit", patch=1, projection=128)
        head = build_head(inputs.sources, shape, vit, len(LABELS))
        run = Run("benchmark", work, slices * (turns + 1), parameters.batch, 0, slices, 1e9)
        tasks[cache] = HeadTraining(head, inputs, fit, fit, parameters, run, accelerator, decisions)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    epoch(tasks[True], slices)  # what is slow the first time
    tasks[False].step(tasks[False].read(0), 0)
    for _ in range(turns):
        for cache, task in tasks.items():
            seconds[cache].append(epoch(task, slices))
    ratios = [slow / fast for slow, fast in zip(seconds[False], seconds[True], strict=True)]
    return {
        "architecture": architecture,
        "slices": slices,
        "side": side,
        "batch": parameters.batch,
        "vit": vit.model_dump(),
        "precision": decisions.precision,
        "device": decisions.torch_device,
        "threads": decisions.threads,
        "cached_s": seconds[True],
        "recomputed_s": seconds[False],
        "extraction_s": extracting,
        "ratio": statistics.median(ratios),
    }


@click.command()
@click.option("--architecture", default="legacy_xception", show_default=True)
@click.option("--stage", default="block12", show_default=True)
@click.option("--slices", default=512, show_default=True)
@click.option("--side", default=224, show_default=True)
@click.option("--turns", default=3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="write the figures as JSON")
def main(architecture: str, stage: str, slices: int, side: int, turns: int, out: Path | None) -> None:
    """Time an epoch of a head on cached maps and with its CNNs recomputed."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), architecture, stage, slices, side, turns)
    table = Table("one epoch", "s, median", "slices/s")
    for name in ("cached", "recomputed"):
        middle = statistics.median(found[f"{name}_s"])
        table.add_row(name, f"{middle:.2f}", f"{slices / middle:.1f}")
    Console().print(table, f"recomputed / cached {found['ratio']:.1f}; extraction {found['extraction_s']:.1f} s, once")
    found["versions"] = {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    found["machine"] = {"processor": processor_name(), "capability": torch.backends.cpu.get_cpu_capability()}
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
