"""Tasks shared out to processes and threads, with progress; as many processes as the memory carries."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pyarrow as pa

from settings.errors import WrongEnvironment
from settings.memory import note_worker, own_peak

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
Item = TypeVar("Item")
Result = TypeVar("Result")
CGROUP = Path("/sys/fs/cgroup")


@contextmanager
def pool(workers: int, preload: Sequence[str] = (), start: Callable[[], None] | None = None) -> Iterator[Run]:
    """A function that runs tasks in processes and yields their results as they come; in this process for one worker.

    Tasks are taken from their iterable as workers become free, so that a million of them need no memory. Workers do not
    fork from this process, which may have threads. They end when it dies, also by `kill -9`. `preload`: heavy modules
    that all workers use, imported once; `start`: called in each worker first. What memory they take is noted in
    `settings.memory`.
    """
    if workers == 1:
        yield lambda function, tasks: map(function, tasks)
        return
    context = multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")
    if sys.platform.startswith("linux"):
        context.set_forkserver_preload(list(preload))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(start,)) as executor:

        def run(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
            waiting = iter(tasks)
            running: set[Future[Any]] = set()
            try:
                running |= {executor.submit(_measured, function, task) for task in islice(waiting, 2 * workers)}
                while running:
                    done, running = wait_for(running, return_when=FIRST_COMPLETED)
                    running |= {executor.submit(_measured, function, task) for task in islice(waiting, len(done))}
                    for future in done:
                        result, peak = future.result()
                        note_worker(peak)
                        yield result
            except BrokenProcessPool:
                raise WrongEnvironment(
                    f"one of {workers} workers was killed, probably for want of memory; lower `workers` in local.yaml"
                ) from None
            finally:
                for future in running:
                    future.cancel()

        yield run


def alone(workers: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` in a process of its own, whose memory ends with it; in this process for one worker.

    For what holds a whole corpus's tables for a moment: this process would keep most of that memory. Another than the
    pool's workers, which hold heavy libraries.
    """
    if workers == 1:
        return function(*arguments)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_start_worker, initargs=(lean_memory,)) as executor:
        try:
            return executor.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise WrongEnvironment(
                f"the process that ran {function.__name__} was killed, probably for want of memory; "
                "run again: what is done is kept"
            ) from None


def lean_memory() -> None:
    """Arrow frees to the system from now on; its own allocator is faster, but keeps megabytes for each thread.

    For a process that holds tables and leaves the pixels to workers.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def _measured(function: Callable[[Any], Any], task: Any) -> tuple[Any, int]:
    return function(task), own_peak()


def _start_worker(start: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all of a job: the task in hand ends, and so does the parent
    if start:
        start()
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def ahead(function: Callable[[Item], Result], items: Iterable[Item], threads: int = 4) -> Iterator[Result]:
    """`function` of each item, in order; threads are at most `2 * threads` items ahead of what was taken.

    For functions that wait for a disk. The error of an item is raised when its turn comes.
    """
    with ThreadPoolExecutor(threads) as executor:
        waiting = iter(items)
        running = deque(executor.submit(function, item) for item in islice(waiting, 2 * threads))
        try:
            while running:
                first = running.popleft()
                result = first.result()
                running.extend(executor.submit(function, item) for item in islice(waiting, 1))
                yield result
        finally:
            for future in running:
                future.cancel()


def fitting(workers: int, bytes_each: int) -> int:
    """At most `workers`, and so many that `bytes_each` of every one fit into the free memory, 1 at least; says so."""
    free = free_memory()
    fit = max(1, free // bytes_each)
    if fit < workers:
        print(
            f"{fit} of {workers} workers: each needs {bytes_each / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
        )
    return min(workers, fit)


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of the container (cgroup v2) where that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except FileNotFoundError:
        return free
    return free if limit == "max" else min(free, int(limit) - used + int(stat.get("inactive_file", 0)))


class Progress:
    """A line every ten seconds and at the end: how many, how fast, how long still."""

    def __init__(self, who: str, what: str, total: int) -> None:
        self.who, self.what, self.total, self.done = who, what, total, 0
        self.started = self.last = time.monotonic()

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last < 10 and self.done < self.total:
            return
        self.last = now
        rate = self.done / max(now - self.started, 1e-9)
        left = int((self.total - self.done) / rate)
        print(
            f"{self.who}: {self.done:,}/{self.total:,} {self.what}  {rate:.0f}/s  {left // 60}:{left % 60:02d} left",
            flush=True,
        )
