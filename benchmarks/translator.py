"""What does a step of the translator cost against the textbook's, against the machine's limit, and in memory?

    python -m benchmarks.translator [--quick] [--device cpu] [--compiled] [--out benchmarks/results/translator.json]

The textbook step is CycleGAN as the best-known public code runs it: a call for each image and each role, nearest
upsampling, reflection and convolution as layers of their own, fp32, two passes of each discriminator, Adam. Ours is
`gan/translator.py` as this machine decides (`training/precision.py`), averaged weights and image pools included. Both
are timed in turns on the same images, after one step that is not counted; a ratio is the median over the turns.
`--compiled` adds a third turn through torch.compile, whose first step is reported beside it.

The practical peak is a 3×3 convolution of 256 channels at 64², forward and backward, in the same process: in bf16 where
the device has units for it, else in fp32. A step's share of it counts the textbook's operations, so that work saved
shows as speed. The peak memory is the largest resident size of a process that does three steps of one kind and nothing
else (on a GPU: what torch allocated). `--quick` takes fewer turns and leaves out 256²: a few minutes on two free cores.
With `--device cuda` 256² of 64 filters is timed at batches of 1, 4 and 16; no GPU has run this so far.
"""

import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.textbook import Textbook, operations
from gan.parameters import GanTrain
from gan.translator import Translator
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.places import ROOT
from training.precision import Decisions, decide, has_compiler

STEPS_FOR_MEMORY = 3
LIBRARIES = ("torch", "timm", "accelerate")
Step = Callable[[], object]


class Size(NamedTuple):
    """Side in pixels, generator filters, residual blocks, images of each kind in a step."""

    side: int
    filters: int
    blocks: int
    batch: int

    def __str__(self) -> str:
        return f"{self.side}²/{self.filters}/{self.blocks}/{self.batch}"


CPU_SIZES = (Size(64, 32, 6, 4), Size(128, 32, 6, 4), Size(256, 64, 9, 1))
CUDA_SIZES = tuple(Size(256, 64, 9, batch) for batch in (1, 4, 16))
KINDS = ("textbook", "ours", "compiled")


def parameters(size: Size) -> GanTrain:
    """params.yaml's, at this size; discriminators as wide as the generators."""
    section = load_yaml(ROOT / "params.yaml")["gan_train"]
    change = {"side": size.side, "ngf": size.filters, "ndf": size.filters, "blocks": size.blocks, "batch": size.batch}
    return read_section(GanTrain, {**section, **change}, "gan_train")


def make_step(kind: str, size: Size, decisions: Decisions) -> Step:
    """One whole step of one kind, on random images that stay on the device."""
    chosen, device = parameters(size), torch.device(decisions.torch_device)
    random = torch.Generator().manual_seed(0)
    shape = (size.batch, chosen.channels, size.side, size.side)
    x, y = (torch.rand(shape, generator=random).mul(2).sub(1).to(device) for _ in range(2))
    if kind == "textbook":
        textbook = Textbook(chosen, device)
        return lambda: textbook.step(x, y)
    batch = x, y, torch.zeros(size.batch, dtype=torch.int64, device=device)
    how = replace(decisions, compiled=kind == "compiled")
    unwatched: Any = None  # steps alone are never validated
    accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    task = Translator(chosen, 0, accelerator, how, lambda seen: batch, lambda given: given, unwatched)
    counts = iter(range(0, 10**9, size.batch))
    return lambda: task.step(batch, next(counts))


def timed(step: Step, device: str) -> float:
    """Seconds of one call, to its end on the device."""
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def practical_peak(decisions: Decisions, turns: int) -> float:
    """GFLOP/s of a 3×3, 256-channel convolution at 64² in the decided precision, forward and backward; the best."""
    device, side = torch.device(decisions.torch_device), 64
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).to(device, decisions.dtype)
    images = torch.randn(1, 256, side, side, device=device, dtype=decisions.dtype)
    if decisions.precision == "bf16":
        layer = layer.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    images.requires_grad_()

    def both_ways() -> Tensor:
        out: Tensor = layer(images)
        out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]
        return out

    seconds = min(timed(both_ways, device.type) for _ in range(turns + 1))
    return 3 * 2 * 9 * 256 * 256 * side * side / seconds / 1e9


def compare(size: Size, decisions: Decisions, kinds: tuple[str, ...], turns: int) -> dict[str, Any]:
    """Every kind's milliseconds (median) and first step, and the ratios to the textbook's, turn by turn."""
    steps = {kind: make_step(kind, size, decisions) for kind in kinds}
    first = {kind: timed(step, decisions.torch_device) for kind, step in steps.items()}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(turns):
        for kind, step in steps.items():
            times[kind].append(timed(step, decisions.torch_device))
    found: dict[str, Any] = {"size": str(size), "turns": turns, "gflop": round(operations(parameters(size)) / 1e9, 1)}
    for kind in kinds:
        ratios = [old / new for old, new in zip(times["textbook"], times[kind], strict=True)]
        found[kind] = {
            "ms": round(1e3 * statistics.median(times[kind]), 1),
            "first_s": round(first[kind], 2),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
            "images_per_second": round(size.batch / statistics.median(times[kind]), 2),
        }
    return found


def peak_memory(kind: str, size: Size, decisions: Decisions) -> float:
    """MB: largest resident size of this process (on a GPU: allocated by torch) after some steps."""
    torch.set_num_threads(decisions.threads)
    step = make_step(kind, size, decisions)
    for _ in range(STEPS_FOR_MEMORY):
        step()
    if decisions.torch_device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a process begins with its parent's on Linux
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def memory_apart(kind: str, size: Size, device: str) -> float:
    """`peak_memory` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.translator", "--device", device, "--memory-of", kind]
    command += ["--size", *(str(part) for part in size)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return round(float(done.stdout.split()[-1]), 1)


def measure(decisions: Decisions, sizes: tuple[Size, ...], kinds: tuple[str, ...], turns: int) -> dict[str, Any]:
    """The whole results file."""
    device = decisions.torch_device
    peak = practical_peak(decisions, turns)
    rows = []
    for size in sizes:
        row = compare(size, decisions, kinds, turns)
        for kind in kinds:
            row[kind]["share_of_peak"] = round(row["gflop"] / row[kind]["ms"] * 1e3 / peak, 3)
        for kind in ("textbook", "ours"):
            row[kind]["peak_mb"] = memory_apart(kind, size, device)
        rows.append(row)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        "decisions": decisions.as_dict(),
        "practical_peak_gflops": round(peak, 1),
        "sizes": rows,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def show(found: dict[str, Any]) -> Table:
    """The results as a table."""
    title = f"{found['device']}, {found['decisions']['precision']}, {found['decisions']['threads']} threads; "
    table = Table(title=title + f"practical peak {found['practical_peak_gflops']:,.0f} GFLOP/s")
    for column in ("side/filters/blocks/batch", "step", "ms", "ratio", "(least–most)", "first s", "of peak", "peak MB"):
        table.add_column(column)
    for row in found["sizes"]:
        for kind in (kind for kind in KINDS if kind in row):
            one = row[kind]
            low, high = one["ratios"]
            cells = [f"{one['ms']:,.0f}", f"{one['ratio']:.2f}×", f"{low:.2f}–{high:.2f}", f"{one['first_s']:.1f}"]
            memory = f"{one['peak_mb']:,.0f}" if "peak_mb" in one else ""
            table.add_row(row["size"], kind, *cells, f"{one['share_of_peak']:.0%}", memory)
    return table


@click.command()
@click.option("--quick", is_flag=True, help="Fewer turns, no 256².")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--compiled", is_flag=True, help="Also through torch.compile.")
@click.option("--turns", type=int, default=0, help="Steps of each kind; 0: 11, or 5 with --quick.")
@click.option("--size", "one", type=int, nargs=4, default=None, help="One size alone: side, filters, blocks, batch.")
@click.option("--memory-of", type=click.Choice(KINDS), default=None, help="Print the peak memory of --size in MB.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Results file (JSON).")
def main(
    quick: bool,
    device: str,
    compiled: bool,
    turns: int,
    one: tuple[int, int, int, int] | None,
    memory_of: str | None,
    out: Path | None,
) -> None:
    decisions = decide(device, "auto")
    if memory_of:
        assert one is not None
        print(peak_memory(memory_of, Size(*one), decisions))
        return
    if compiled and not has_compiler():
        raise click.UsageError("--compiled: there is no C++ compiler on this machine")
    torch.set_num_threads(decisions.threads)
    sizes = CUDA_SIZES if device == "cuda" else CPU_SIZES[: 2 if quick else 3]
    kinds = KINDS if compiled else KINDS[:2]
    found = measure(decisions, (Size(*one),) if one else sizes, kinds, turns or (5 if quick else 11))
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")
    Console().print(show(found))


if __name__ == "__main__":
    main()
