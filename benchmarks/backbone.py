"""How long is a training step of a CNN, and does the data keep up, beside timm's own training pattern?

    python -m benchmarks.backbone [--architecture legacy_xception] [--side 96] [--batch 16] [--quick] [--device auto]

Both train the same timm model with the same batch, AdamW, averaged weights, label smoothing, random crops and flips.
timm's side is what `train.py` of timm does when a user starts it: a folder of JPEG, `create_loader` with worker
processes that decode, crop and flip (no colour jitter, which ours has not either), `create_optimizer_v2`,
`ModelEmaV3`, `CosineLRScheduler`; fp32 and contiguous, or with `--amp --amp-dtype bfloat16 --channels-last` where ours
computes so. Ours is `backbones/classifier.py` on shards. Kinds take turns; a ratio is the median over the turns.

- step: one batch that is in memory, again and again. Ours crops and flips inside the step, timm's has them behind it.
- whole: batches as they come, so that the worker processes of timm share the cores with its step.
- waiting: what the loop spends outside the step, as a share of the whole.
- share of the limit: FLOPs of forward and backward pass a second, over those of one large matrix product.
"""

import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import pyarrow as pa
import timm
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from timm.data.dataset import ImageDataset
from timm.data.loader import create_loader
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3

from backbones.classifier import Classifier
from backbones.cost import cost
from backbones.feature_cnn import build
from backbones.parameters import PLAIN, CorpusPretrain
from backbones.pretrain import examples
from corpus.images import Images, finish_images
from corpus.shards import write_shard
from settings.machine import processor_name
from settings.places import ROOT, Local
from training.loop import Run, train
from training.precision import Decisions
from training.ranks import start

CLASSES = 10
Turn = Callable[[int], float]  # number of steps → seconds


def photos(folder: Path, count: int, side: int) -> Path:
    """The same smooth random images as shards (photos/) and as a folder of JPEG by class (train/); one part val."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    pixels = np.stack(
        [np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)) for small in coarse]
    )
    label = np.arange(count) % CLASSES
    shards = folder / "photos"
    shards.mkdir(parents=True)
    write_shard(shards, 0, pixels)
    index = {"id": [f"p{n}" for n in range(count)], "label": label.astype(np.int32)}
    part = ["val" if n >= count - CLASSES else "train" for n in range(count)]
    names = [f"n{n}" for n in range(CLASSES)]
    finish_images(shards, "photos", pa.table({**index, "part": part}), [], classes=names, class_names=names)
    for number in range(count - CLASSES):
        path = folder / "train" / names[label[number]] / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number]).save(path, quality=90)
    return shards


def ours(folder: Path, parameters: CorpusPretrain, accelerator: Any, decisions: Decisions) -> Classifier:
    """The task that corpus-pretrain trains."""
    images = Images(folder, "photos")
    run = Run("benchmark", folder.parent / "work", parameters.images, parameters.batch, 0, parameters.images, 1e9)
    model = build(parameters.architecture, CLASSES, 1e-5)
    fit, val = examples(images, "train"), examples(images, "val")
    return Classifier(model, parameters.side, fit, val, parameters, run, accelerator, decisions)


class Theirs:
    """timm's training step and loader, written as its train.py writes them."""

    def __init__(
        self,
        folder: Path,
        parameters: CorpusPretrain,
        device: torch.device,
        amp: bool,
        channels_last: bool,
        workers: int,
    ) -> None:
        p, self.device, self.amp = parameters, device, amp
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model = timm.create_model(p.architecture, num_classes=CLASSES).to(device)
        self.model = self.model.to(memory_format=self.format)
        self.optimiser = create_optimizer_v2(self.model, opt="adamw", lr=p.learning_rate, weight_decay=p.weight_decay)
        self.average = ModelEmaV3(self.model, decay=0.9998, use_warmup=True)
        self.loss = LabelSmoothingCrossEntropy(p.label_smoothing).to(device)  # type: ignore[no-untyped-call]
        self.schedule = CosineLRScheduler(self.optimiser, t_initial=10_000, warmup_t=100, t_in_epochs=False)
        self.loader = create_loader(
            ImageDataset(str(folder / "train")),  # type: ignore[no-untyped-call]
            input_size=(3, p.side, p.side),
            batch_size=p.batch,
            is_training=True,
            scale=p.crop_scale,
            hflip=0.5,
            color_jitter=0.0,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            num_workers=workers,
            device=device,
        )
        self.steps = 0

    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        """One update."""
        pixels, target = batch[0].contiguous(memory_format=self.format), batch[1]
        self.model.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            loss = self.loss(self.model(pixels), target)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1
        self.average.update(self.model, step=self.steps)
        self.schedule.step_update(self.steps)

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless passes."""
        while True:
            yield from self.loader


def clock(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(kinds: dict[str, Turn], steps: int, turns: int) -> dict[str, list[float]]:
    """Seconds a step of each kind, turn by turn; a first turn is not counted."""
    for turn in kinds.values():
        turn(2)
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(turns):
        for name, turn in kinds.items():
            found[name].append(turn(steps) / steps)
    return found


def step_turn(task: Classifier) -> Turn:
    """Our step on one batch in memory."""
    batch = task.read(0)
    device = task.accelerator.device

    def turn(steps: int) -> float:
        began = clock(device)
        for number in range(steps):
            task.step(batch, number * task.run.batch)
        return clock(device) - began

    return turn


def their_step_turn(theirs: Theirs) -> Turn:
    """timm's step on one batch on the device."""
    batch = next(iter(theirs.loader))

    def turn(steps: int) -> float:
        began = clock(theirs.device)
        for _ in range(steps):
            theirs.step(batch)
        return clock(theirs.device) - began

    return turn


def whole_turn(make: Callable[[int], Classifier], decisions: Decisions, waits: list[float]) -> Turn:
    """Our loop as it is; `waits` gets the share of the time that it spends outside the step."""

    def turn(steps: int) -> float:
        task = make(steps)
        device, spent, inside = task.accelerator.device, [0.0, 0.0], task.step
        task.judge = lambda: {"loss": 0.0}  # type: ignore[method-assign]

        def timed(batch: Any, images_seen: int) -> dict[str, torch.Tensor]:
            began = clock(device)
            spent[0] = spent[0] or began
            losses = inside(batch, images_seen)
            spent[1] += clock(device) - began
            ends.append(clock(device))
            return losses

        ends: list[float] = []
        task.step = timed  # type: ignore[method-assign]
        train(task, task.run, task.accelerator, decisions)
        shutil.rmtree(task.run.work)
        seconds = ends[-1] - spent[0]
        waits.append(1 - spent[1] / seconds)
        return seconds

    return turn


def their_whole_turn(theirs: Theirs) -> Turn:
    """timm's loop: the next batch, then the step."""
    batches = theirs.batches()

    def turn(steps: int) -> float:
        theirs.step(next(batches))  # the workers have started
        began = clock(theirs.device)
        for _ in range(steps):
            theirs.step(next(batches))
        return clock(theirs.device) - began

    return turn


def flops(parameters: CorpusPretrain) -> int:
    """Of forward and backward pass of a batch; convolutions and matrix products alone.

    The backward pass is twice the forward one: torch's counter takes the weight gradient of a grouped convolution
    for that of a dense one, which is 64 times too much for Xception's depthwise ones with 64 channels.
    """
    model = build(parameters.architecture, CLASSES, 1e-5).to("meta")
    image = torch.zeros(1, 3, parameters.side, parameters.side, device="meta")
    return 3 * parameters.batch * int(cost(model, image)["flops"])


def limit(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of a matrix product large enough for this device: best of five."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        began = clock(device)
        a @ b
        seconds.append(clock(device) - began)
    return 2 * n**3 / min(seconds[1:])


def measure(
    folder: Path, parameters: CorpusPretrain, source_side: int, steps: int, turns: int, local: Local
) -> dict[str, Any]:
    """All figures; ratios are timm's time over ours, so that more is better."""
    accelerator, decisions = start(local)
    device, workers = accelerator.device, min(4, len(os.sched_getaffinity(0)))  # 4 is train.py's default
    shards = photos(folder, max(20 * CLASSES, 2 * parameters.batch + CLASSES), source_side)
    fast = decisions.precision == "bf16", decisions.channels_last
    theirs = {
        "timm, as ours computes": Theirs(folder, parameters, device, *fast, workers),
        "timm, fp32 contiguous": Theirs(folder, parameters, device, False, False, workers),
    }
    waits: list[float] = []

    def make(count: int) -> Classifier:
        return ours(shards, parameters.model_copy(update={"images": count * parameters.batch}), accelerator, decisions)

    step = in_turns(
        {"ours": step_turn(make(10_000)), **{name: their_step_turn(kind) for name, kind in theirs.items()}},
        steps,
        turns,
    )
    whole = in_turns(
        {"ours": whole_turn(make, decisions, waits), **{name: their_whole_turn(kind) for name, kind in theirs.items()}},
        steps,
        turns,
    )
    rate = parameters.batch / statistics.median(whole["ours"])
    work = flops(parameters) / statistics.median(step["ours"])

    def ratios(times: dict[str, list[float]]) -> dict[str, float]:
        return {
            name: statistics.median(a / b for a, b in zip(times[name], times["ours"], strict=True)) for name in theirs
        }

    return {
        "model": {key: getattr(parameters, key) for key in ("architecture", "side", "batch")},
        "computing": decisions.as_dict(),
        "machine": {"device": _device(device), "cores": psutil.cpu_count(), "timm_workers": workers},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "timm")}},
        "steps_ms": {name: 1000 * statistics.median(times) for name, times in step.items()},
        "whole_ms": {name: 1000 * statistics.median(times) for name, times in whole.items()},
        "step_ratios": ratios(step),
        "whole_ratios": ratios(whole),
        "waiting": statistics.median(waits[1:]),
        "images_per_second": rate,
        "share_of_limit": work / limit(device, decisions.dtype),
    }


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return processor_name()


def print_table(found: dict[str, Any]) -> None:
    """The figures for a terminal."""
    console = Console(soft_wrap=True)
    console.print(f"{found['machine']}; {found['computing']}; {found['model']}; {found['versions']}")
    table = Table("kind", "step, ms", "timm / ours", "whole, ms", "timm / ours")
    for name, value in found["steps_ms"].items():
        one, other = (
            f"{found[key][name]:.2f}" if name in found[key] else "" for key in ("step_ratios", "whole_ratios")
        )
        table.add_row(name, f"{value:.1f}", one, f"{found['whole_ms'][name]:.1f}", other)
    console.print(table)
    console.print("wanted: ≥ 1.0 as ours computes; ≥ 2 against fp32 contiguous where the CPU has AMX")
    console.print(f"waiting {found['waiting']:.1%} (wanted < 5 %), {found['images_per_second']:.1f} images/s, "
                  f"{found['share_of_limit']:.0%} of the limit")  # fmt: skip


@click.command()
@click.option("--architecture", default="legacy_xception", show_default=True, help="A timm name.")
@click.option("--side", default=96, show_default=True, help="Pixels that the CNN sees.")
@click.option("--batch", default=16, show_default=True)
@click.option("--quick", is_flag=True, help="Fewer steps and turns.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/backbone.json")
def main(architecture: str, side: int, batch: int, quick: bool, device: Any, precision: Any, out: Path) -> None:
    """Measure, print, and write the figures to a JSON file."""
    parameters = CorpusPretrain(
        images=batch, batch=batch, learning_rate=1e-4, warmup_share=0, weight_decay=0.02, ema_half_life=100,
        evaluate_every=10**9, optimise=PLAIN, patience=None, architecture=architecture, side=side,
        label_smoothing=0.1, crop_scale=(0.4, 1.0), flip=True,
    )  # fmt: skip
    steps, turns = (4, 3) if quick else (10, 9)
    with tempfile.TemporaryDirectory() as folder:
        local = Local(device=device, precision=precision)
        found = measure(Path(folder), parameters, side * 4 // 3, steps, turns, local)
    print_table(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
