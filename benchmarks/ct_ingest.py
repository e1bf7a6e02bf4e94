"""What does it cost to make images of DICOM files: by step, against a naive chain, by processes, and in memory?

    python -m benchmarks.ct_ingest [--quick] [--memory] [--real DIR] [--out benchmarks/results/ct_ingest.json]

Slices are phantoms of 512² drawn into a temporary folder, or the `*.dcm` below `--real`; they are read from the page
cache, so a slow disk comes on top. Chains are timed in turns on the same files, and the ratio is the median over the
turns. Naive and ours both go from the file to the three windows at one side; ours looks at each header first and at
the pixels later, as prepare-ct does, and both passes count. It is timed twice: making what the naive chain makes, and
with the one-channel form and the hash of the content besides, which prepare-ct needs and the naive chain has not. Not
in it: the SHA-256 by which a manifest's files are known (a step of its own), and what sends the work to processes.
The floor reads the file and looks each pixel up once, into memory that is there: by NumPy as ever, and by Arrow,
which is what the pipeline uses. The memory is measured on 2,000 and 20,000 files of 128²: every fourth pixel of a
drawn slice in the same header, with identifiers of their own patched into the bytes, since 20,000 whole ones would
take 10 GB of disk. They are read, ordered, converted and written as any others, by two workers. `--quick` takes fewer
slices and turns: some two minutes. `--memory` measures the memory alone, and leaves the other figures of OUT as they
are.
"""

import hashlib
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pydicom
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.ct_memory import write_many
from corpus.shards import write_shard
from corpus.windows import Window, Windows, parse_windows
from corpus.workers import pool
from ct.convert import Forms, content_hash, convert, copy_channels, look_up, resize, windowed
from ct.dicom import Known, Slice, hu_table, is_unchanged, read_headers, read_known, read_slice
from ct.phantom import make
from ct.phantom_parameters import PhantomCt
from settings.errors import BadInput
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.places import ROOT

COMPETITION = 752_803  # slices of the training set
SIDE = 224
SIZE = 512  # pixels, of the files
Chains = dict[str, Callable[[Sequence[Path]], Any]]
LIBRARIES = ("numpy", "torch", "pydicom", "pillow", "pyarrow")
SERIES = 8  # slices of a drawn series
CHUNK = 40  # files of a task, and of a turn


class Size(NamedTuple):
    """How much is measured."""

    slices: int
    turns: int
    many: tuple[int, int]  # files, for the memory


FULL = Size(400, 9, (2_000, 20_000))
QUICK = Size(80, 5, (500, 2_000))


def draw(folder: Path, slices: int) -> list[Path]:
    """At least so many phantoms, as params.yaml describes them but in short series and without oddities."""
    section = load_yaml(ROOT / "params.yaml")["phantom_ct"]
    oddities = dict.fromkeys(section["oddities"], 0)
    parameters = {**section, "patients": max(8, -(-slices // SERIES)), "slices": SERIES, "oddities": oddities}
    folder.mkdir()
    make(read_section(PhantomCt, parameters, "phantom_ct"), folder, psutil.cpu_count() or 1)
    return sorted((folder / "stage_2_train").glob("*.dcm"))


def naive(windows: Sequence[Window], path: Path) -> npt.NDArray[np.uint8]:
    """The chain of the textbook: read by pydicom, float64 Hounsfield units, three windows, each resized by Pillow."""
    dataset = pydicom.dcmread(path)
    return naive_pixels(windows, float(dataset.RescaleSlope), float(dataset.RescaleIntercept), dataset.pixel_array)


def naive_pixels(
    windows: Sequence[Window], slope: float, intercept: float, stored: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """The part of the naive chain that comes after reading."""
    hu = stored.astype(np.float64) * slope + intercept
    shown = [np.clip((hu - window.low) / window.width, 0, 1) * 255 for window in windows]
    images = [Image.fromarray(np.round(image).astype(np.uint8)) for image in shown]
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in images], axis=-1)


def ours(forms: Forms, files: Sequence[Path]) -> npt.NDArray[np.uint8]:
    """The pipeline's chain: all headers first, then the pixels and the hash of the content; the last file's image."""
    known = [read_headers(path)[0].known for path in files]
    image = np.empty(0, np.uint8)
    for path, one in zip(files, known, strict=True):
        image = second_pass(forms, path, one)
    return image


def same_outputs(windows: Windows, files: Sequence[Path]) -> npt.NDArray[np.uint8]:
    """As `ours`, without what the naive chain does not make: one-channel form and hash."""
    known = [read_headers(path)[0].known for path in files]
    image = np.empty(0, np.uint8)
    for path, one in zip(files, known, strict=True):
        image = resize(windowed(read_pixels(path.read_bytes(), one), windows), SIDE, SIDE)[..., :3]
    return image


def second_pass(forms: Forms, path: Path, known: Known) -> npt.NDArray[np.uint8]:
    """The pipeline's chain once headers are known."""
    return convert(read_pixels(path.read_bytes(), known), forms).images[forms.sides[0]][..., :3]


def read_pixels(content: bytes, known: Known) -> Slice:
    """As `ct.prepare` reads a slice whose file has no other."""
    if not is_unchanged(content, known):
        raise BadInput("a file changed while it was timed")
    return read_known(content, known.start, known.native, 0) if known.native else read_slice(content)


def floor(
    table: npt.NDArray[np.float32], index: npt.NDArray[np.intp], out: npt.NDArray[np.float32], path: Path
) -> None:
    """Read the bytes and pass over the pixels once: stored pattern → HU, into memory that is there."""
    content = path.read_bytes()
    np.copyto(index, np.frombuffer(content, np.uint16, index.size, len(content) - 2 * index.size).reshape(index.shape))
    table.take(index, mode="clip", out=out)


def arrow_floor(table: pa.Array, path: Path) -> None:
    """The same by Arrow, which turns no pattern into an index first."""
    content = path.read_bytes()
    look_up(table, np.frombuffer(content, np.uint16, SIZE**2, len(content) - 2 * SIZE**2).reshape(SIZE, SIZE))


def step_costs(paths: Sequence[Path], forms: Forms, turns: int, folder: Path) -> dict[str, float]:
    """Milliseconds a slice of each step alone (least of the turns), torch on one thread."""
    contents = [path.read_bytes() for path in paths]
    slices = [read_slice(content) for content in contents]
    known = [read_headers(path)[0].known for path in paths]
    shape = slices[0].stored.shape
    colours = pa.array(np.arange(65536, dtype=np.uint32))
    hu = [np.rint(slice_.hu()).clip(-32768, 32767).astype(np.int16) for slice_ in slices]
    packed = np.random.default_rng(0).integers(0, 256, (*shape, 4), np.uint8)
    corpora = forms.corpora()
    shards = [np.empty((len(paths), side, side, channels), np.uint8) for _, side, channels in corpora]
    images = {side: resize(packed, side, side) for side in (*forms.sides, forms.hu_side)}

    def fill() -> None:
        for (kind, side, _), shard in zip(corpora, shards, strict=True):
            for row in range(len(paths)):
                copy_channels(kind, images[side], shard[row])

    steps: dict[str, Callable[[], Any]] = {
        "headers": lambda: [read_headers(path) for path in paths],
        "read": lambda: [path.read_bytes() for path in paths],
        "SHA-256 (manifest)": lambda: [hashlib.sha256(content).digest() for content in contents],
        "pixels, header known": lambda: [read_pixels(*pair) for pair in zip(contents, known, strict=True)],
        "pixels, parsed again": lambda: [read_slice(content) for content in contents],
        "look-up": lambda: [look_up(colours, slice_.stored) for slice_ in slices],
        **{
            f"resize {side}": partial(lambda side: [resize(packed, side, side) for _ in paths], side)
            for side in sorted(images)
        },
        "hash": lambda: [content_hash(values) for values in hu],
        "into shards": fill,
        "write": lambda: [write_shard(folder, number, shard) for number, shard in enumerate(shards)],
    }
    return {name: min(_seconds(step) for _ in range(turns)) / len(paths) * 1e3 for name, step in steps.items()}


def in_turns(chains: Chains, paths: Sequence[Path], turns: int) -> dict[str, list[float]]:
    """Milliseconds a slice of each chain (of files), turn by turn; in each turn all chains take the same files."""
    found: dict[str, list[float]] = {name: [] for name in chains}
    for turn in range(turns):
        start = turn * CHUNK % max(1, len(paths) - CHUNK + 1)
        files = paths[start : start + CHUNK]
        for name, chain in chains.items():
            seconds = _seconds(partial(chain, files))
            found[name].append(seconds / len(files) * 1e3)
    return found


def two_processes(paths: Sequence[Path], forms: Forms, turns: int) -> float:
    """How many times as fast two processes make images of the same files as one; median of the turns."""
    tasks = [(paths[start : start + CHUNK], forms) for start in range(0, len(paths), CHUNK)]
    tasks *= max(1, 16 // len(tasks))
    ratios = []
    with pool(2, preload=["torch", "pydicom"], start=one_thread) as run:
        list(run(convert_files, tasks))  # both have started and know the tables
        for _ in range(turns):
            one = _seconds(lambda: [convert_files(task) for task in tasks])
            two = _seconds(lambda: list(run(convert_files, tasks)))
            ratios.append(one / two)
    return statistics.median(ratios)


def convert_files(task: tuple[Sequence[Path], Forms]) -> int:
    """A worker's task: files → images, which are dropped."""
    ours(task[1], task[0])
    return len(task[0])


def one_thread() -> None:
    """What each worker of the pipeline sets."""
    torch.set_num_threads(1)


def memory(drawn: Sequence[Path], folder: Path, many: tuple[int, int]) -> dict[str, Any]:
    """The largest resident sets at two numbers of files, each in a run of its own, and what a slice more takes."""
    runs = []
    for count in many:
        raw, out = folder / f"raw-{count}", folder / f"out-{count}"
        write_many(drawn[:SERIES], raw, count)
        command = [sys.executable, "-m", "benchmarks.ct_memory", str(raw), str(out)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        shutil.rmtree(raw)
        shutil.rmtree(out)
    found: dict[str, Any] = {"runs": runs}
    for who in ("main", "tables"):
        each = (runs[1][f"{who}_mb"] - runs[0][f"{who}_mb"]) * 1e3 / (many[1] - many[0])
        found[f"{who}_kb_a_slice"] = each
        found[f"projected_{who}_mb"] = runs[1][f"{who}_mb"] + each * (COMPETITION - many[1]) / 1e3
    return found


def each(chain: Callable[[Path], Any]) -> Callable[[Sequence[Path]], None]:
    """A chain of one file as one of several."""

    def chain_all(files: Sequence[Path]) -> None:
        for path in files:
            chain(path)

    return chain_all


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(size: Size, real: Path | None, folder: Path) -> dict[str, Any]:
    """Everything, as it is written to the JSON file. Times in ms a slice."""
    one_thread()
    windows = parse_windows(load_yaml(ROOT / "params.yaml")["windows"])
    drawn = draw(folder / "drawn", size.slices)
    paths = sorted(real.rglob("*.dcm")) if real else drawn
    paths = [path for path in paths if _whole(path)][: size.slices]
    forms, lone = Forms(windows, (224, 256), 512), Forms(windows, (SIDE,), SIDE)
    steps = step_costs(paths[:CHUNK], forms, size.turns, folder)
    table = hu_table(read_slice(paths[0].read_bytes()).encoding)
    index, out = np.empty((SIZE, SIZE), np.intp), np.empty((SIZE, SIZE), np.float32)
    known = {path: read_headers(path)[0].known for path in paths}
    datasets = {path: pydicom.dcmread(path) for path in paths}
    arrays = {path: dataset.pixel_array for path, dataset in datasets.items()}
    slices = {path: read_slice(path.read_bytes()) for path in paths}
    rescale = {
        path: (float(dataset.RescaleSlope), float(dataset.RescaleIntercept)) for path, dataset in datasets.items()
    }
    chains: Chains = {
        "naive": each(partial(naive, windows)),
        "ours, same outputs": partial(same_outputs, windows),
        "ours": partial(ours, lone),
        "ours, second pass": each(lambda path: second_pass(lone, path, known[path])),
        "floor": each(partial(floor, table, index, out)),
        "floor by Arrow": each(partial(arrow_floor, pa.array(table))),
        "naive, pixels alone": each(lambda path: naive_pixels(windows, *rescale[path], arrays[path])),
        "ours, pixels alone": each(lambda path: resize(windowed(slices[path], windows), SIDE, SIDE)),
        "ours, pixels alone, with hash": each(lambda path: convert(slices[path], lone)),
        "all forms": partial(ours, forms),
    }
    times = in_turns(chains, paths, size.turns)

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))

    ratios = {
        "naive / ours, same outputs": ratio("naive", "ours, same outputs"),
        "naive / ours": ratio("naive", "ours"),
        "naive / ours, pixels alone": ratio("naive, pixels alone", "ours, pixels alone"),
        "ours, same outputs / floor": ratio("ours, same outputs", "floor"),
        "ours / floor": ratio("ours", "floor"),
        "ours / floor by Arrow": ratio("ours", "floor by Arrow"),
        "two processes / one": two_processes(paths, lone, size.turns),
    }
    core_ms = statistics.median(times["all forms"]) + steps["into shards"] + steps["write"]
    return {
        "source": "real" if real else "phantoms",
        "slices": len(paths),
        "machine": {"processor": processor_name(), "cores": psutil.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "steps_ms": steps,
        "chains_ms": {name: statistics.median(turns) for name, turns in times.items()},
        "ratios": ratios,
        "projected": {
            "what": f"{COMPETITION:,} slices, sides 224 and 256, HU 512, from the rates above; read from memory",
            "core_hours": core_ms * COMPETITION / 3.6e6,
            "hours_on_16_cores": core_ms * COMPETITION / 3.6e6 / 16,
        },
        "memory": memory(drawn, folder, size.many),
    }


def _whole(path: Path) -> bool:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return (dataset.Rows, dataset.Columns) == (SIZE, SIZE)


def print_table(found: dict[str, Any]) -> None:
    """The figures for a terminal."""
    console = Console(soft_wrap=True)
    console.print(f"{found['machine']['processor']}, {found['machine']['cores']} cores; {found['versions']}")
    table = Table("what", "ms a slice", title=f"{found['slices']} slices ({found['source']})", title_justify="left")
    for group in ("steps_ms", "chains_ms"):
        for name, value in found[group].items():
            table.add_row(name, f"{value:.3f}", end_section=name in ("write", "all forms"))
    console.print(table)
    wanted = dict(
        zip(found["ratios"], ("≥ 6", "no target", "≥ 6", "≤ 3", "no target", "no target", "≥ 1.8"), strict=True)
    )
    for name, value in found["ratios"].items():
        console.print(f"{name}: {value:.2f} (wanted {wanted[name]})")
    for run in found["memory"]["runs"]:
        console.print(
            f"{run['files']:,} files of 128²: main process {run['main_mb']:.0f} MB, for order and index "
            f"{run['tables_mb']:.0f} MB, largest worker {run['worker_mb']:.0f} MB, {run['seconds']:.1f} s"
        )
    for who, name in (("main", "main process"), ("tables", "for order and index")):
        console.print(
            f"{name}: {found['memory'][f'{who}_kb_a_slice']:.2f} kB a slice; projected for {COMPETITION:,}: "
            f"{found['memory'][f'projected_{who}_mb']:.0f} MB"
        )
    projected = found["projected"]
    console.print(
        f"projected, {projected['what']}: {projected['core_hours']:.2f} core hours, "
        f"{projected['hours_on_16_cores']:.2f} h on 16 cores"
    )


@click.command()
@click.option("--quick", is_flag=True, help="Fewer slices and turns.")
@click.option("--memory", "only", is_flag=True, help="Only the memory; OUT keeps its other figures.")
@click.option("--real", type=click.Path(path_type=Path, exists=True), help="A folder of *.dcm in place of phantoms.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks/results/ct_ingest.json")
def main(quick: bool, only: bool, real: Path | None, out: Path) -> None:
    """Measure, print, and write the figures to a JSON file."""
    with tempfile.TemporaryDirectory() as folder:
        size = QUICK if quick else FULL
        if only:
            drawn = draw(Path(folder) / "drawn", SERIES)
            found = {**json.loads(out.read_text()), "memory": memory(drawn, Path(folder), size.many)}
        else:
            found = {"quick": quick, **measure(size, real, Path(folder))}
    print_table(found)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
