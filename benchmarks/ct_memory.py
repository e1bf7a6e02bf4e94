"""The memory that prepare-ct takes, for `ct_ingest`: many small files with identifiers of their own, and one run.

    python -m benchmarks.ct_memory RAW OUT

prints the largest resident sets of the main process, of those that order the slices and write the index, and of a
worker, without pages of files. It imports no torch, as
the main process of the stage imports none.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pydicom

from corpus.windows import parse_windows
from corpus.workers import lean_memory
from ct.convert import Forms
from ct.prepare import prepare
from ct.raw_files import find_files
from settings.loader import load_yaml
from settings.places import ROOT


def write_many(drawn: Sequence[Path], folder: Path, count: int) -> None:
    """`count` files of 128² with identifiers of their own, RSNA's form, in series as long as `drawn`."""
    folder.mkdir()
    small = [_small(path) for path in drawn]
    for number in range(count):
        content, names = small[number % len(drawn)]
        patient = number // len(drawn)
        for old, value in zip(names, (number, patient, patient, patient), strict=True):
            content = content.replace(old, b"ID_%0*x" % (len(old) - 3, value))
        (folder / f"ID_{number:09x}.dcm").write_bytes(content)


def _small(path: Path) -> tuple[bytes, list[bytes]]:
    dataset = pydicom.dcmread(path)
    small = dataset.pixel_array[::4, ::4]
    dataset.Rows, dataset.Columns = small.shape
    dataset.PixelSpacing = [4 * float(value) for value in dataset.PixelSpacing]
    dataset.PixelData = small.tobytes()
    tags = ("SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    names = [str(dataset[tag].value).encode() for tag in tags]
    with tempfile.NamedTemporaryFile() as file:
        dataset.save_as(file.name)
        return Path(file.name).read_bytes(), names


def memory_run(raw: Path, out: Path) -> dict[str, float]:
    """Prepare all files below `raw` with two workers; the largest resident sets in MB, seconds. In its own process."""
    lean_memory()  # as the stage does
    windows = parse_windows(load_yaml(ROOT / "params.yaml")["windows"])
    images = {96: out / "images"}
    for folder in (images[96], out / "hu"):
        folder.mkdir(parents=True)
    started = time.monotonic()
    largest = {"main_mb": 0.0, "tables_mb": 0.0, "worker_mb": 0.0}
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(largest, ended), daemon=True)
    thread.start()
    # Shards of one size, whatever their number: else it is their buffers that grow.
    files = find_files(raw, None)
    prepare(files, Forms(windows, (96,), 128), True, 0.0, out / "work", images, out / "hu", workers=2, shard_rows=250)
    ended.set()
    thread.join()
    return {"files": len(files), **largest, "seconds": time.monotonic() - started}


def _watch(largest: dict[str, float], ended: threading.Event) -> None:
    """Note the largest resident sets of this process and of those below it, every 20 ms.

    Without pages of files: shards and tables that are mapped are the page cache's. `corpus.workers.alone` spawns its
    processes; all others below this one are the workers and the server that forks them.
    """
    own = psutil.Process()
    while not ended.wait(0.02):
        for process in [own, *own.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                spawned = any("spawn_main" in word for word in process.cmdline())
                name = "main_mb" if process == own else "tables_mb" if spawned else "worker_mb"
                memory = process.memory_info()
                largest[name] = max(largest[name], (memory.rss - memory.shared) / 1e6)


if __name__ == "__main__":
    print(json.dumps(memory_run(Path(sys.argv[1]), Path(sys.argv[2]))))
