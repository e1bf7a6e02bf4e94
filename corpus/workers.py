"""Tasks shared out to processes, with progress."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from settings.errors import WrongEnvironment

Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextmanager
def pool(workers: int, preload: Sequence[str] = (), start: Callable[[], None] | None = None) -> Iterator[Run]:
    """A function that runs tasks in processes and yields their results as they come; in this process for one worker.

    Workers do not fork from this process, which may have threads. They end when it dies, also by `kill -9`. `preload`:
    heavy modules that all workers use, imported once; `start`: called in each worker first.
    """
    if workers == 1:
        yield lambda function, tasks: map(function, tasks)
        return
    context = multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")
    if sys.platform.startswith("linux"):
        context.set_forkserver_preload(list(preload))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(start,)) as executor:

        def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
            futures: list[Future[Any]] = [executor.submit(function, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool:
                raise WrongEnvironment(
                    f"one of {workers} workers was killed, probably for want of memory; lower `workers` in local.yaml"
                ) from None
            finally:
                for future in futures:
                    future.cancel()

        yield run


def _start_worker(start: Callable[[], None] | None) -> None:
    if start:
        start()
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


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
