"""The one training loop: translator, classifier and head go through it.

Progress is counted in images seen, over all ranks. What a step does depends on the state and on
(seed, images seen, rank) alone, so a run that was killed and resumed ends in the same weights, bit for bit on CPU.
"""

import csv
import math
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from settings.errors import Interrupted, PipelineError, TrainingFailed
from settings.machine import on_signals
from training.batches import seed_step
from training.checkpoint import latest, load, roll_back, save
from training.precision import Decisions
from training.ranks import check_agreement, mean_buffers

if TYPE_CHECKING:
    from accelerate import Accelerator

Row = dict[str, float]
ASK_EVERY = 1.0  # most seconds between two times that ranks agree on saving and stopping


class Task(Protocol):
    """What is trained: its networks, optimisers and data. The loop knows nothing else about it."""

    def read(self, images_seen: int) -> Any:
        """This rank's batch for the step at `images_seen`, from disk; runs in a thread ahead of the step."""

    def step(self, batch: Any, images_seen: int) -> dict[str, torch.Tensor]:
        """One optimiser step; returns detached scalar losses by name, on the device (no `.item()` here)."""

    def evaluate(self, images_seen: int) -> dict[str, float]:
        """Validation figures by name, the same on every rank; runs at intervals and at the end.

        A figure `failing` above 0 says that the training may be lost: the state before it is then kept beside newer
        ones, and is all that stays when this raises TrainingFailed.
        """

    def modules(self) -> list[nn.Module]:
        """Every network whose weights all ranks must hold alike."""

    def state(self) -> dict[str, Any]:
        """All that a resume needs and ranks share: weights, EMA, optimisers, best so far."""

    def own_state(self) -> dict[str, Any]:
        """What only this rank has: an image pool."""

    def restore(self, shared: dict[str, Any], own: dict[str, Any]) -> None:
        """Take back what `state` and `own_state` gave."""


@dataclass(frozen=True)
class Run:
    """One training. The trained network is a function of all but `work` and `save_every_seconds`."""

    name: str  # stage, for the progress line
    work: Path  # folder of the state
    total: int  # images to see, over all ranks
    batch: int  # images in a step, over all ranks
    seed: int
    evaluate_every: int  # images between validations; also validates at the end
    save_every_seconds: float  # most of training that a kill may cost
    patience: int | None = None  # validations without a lower `val_loss` after which it ends; None: sees all images

    @property
    def log_every(self) -> int:
        """Images between two rows of the training curve: about fifty rows a run."""
        return max(1, self.total // self.batch // 50) * self.batch


def ends_early(validation: list[Row], patience: int | None) -> bool:
    """Whether the last `patience` validations all failed to undercut the lowest `val_loss` before them.

    A function of the curve alone, which is part of the state: a resumed run ends where the interrupted one would.
    """
    if patience is None or len(validation) <= patience:
        return False
    losses = [row["val_loss"] for row in validation]
    return min(losses[-patience:]) >= min(losses[:-patience])


@dataclass(frozen=True)
class Curves:
    """Training losses (means since the row before) and validation figures, by images seen."""

    training: list[Row]
    validation: list[Row]

    @property
    def good(self) -> int:
        """Images seen at the last validation that says it is not failing; 0 without one."""
        return int(max((row["images"] for row in self.validation if row.get("failing") == 0), default=0))

    def write(self, folder: Path) -> None:
        """`training.csv` and `validation.csv`, for `dvc plots`."""
        for name, rows in (("training", self.training), ("validation", self.validation)):
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]) if rows else ["images"], lineterminator="\n")
                writer.writeheader()
                writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)


def train(task: Task, run: Run, accelerator: "Accelerator", decisions: Decisions) -> Curves:
    """Train until `run.total` images were seen, resuming from the newest state under `run.work`.

    Raises TrainingFailed on a non-finite loss or weight, or where the task's validation does (the last good state
    stays), and Interrupted after SIGTERM or SIGINT (the state is saved first).
    """
    rank = accelerator.process_index
    total = math.ceil(run.total / run.batch) * run.batch
    seen, curves, sums, finished = 0, Curves([], []), _Sums(), False
    if (state := latest(run.work)) is not None:
        shared, own = load(state, rank)
        task.restore(shared["task"], own)
        seen = shared["images_seen"]
        curves, sums = Curves(shared["training"], shared["validation"]), _Sums(shared["sums"], shared["steps"])
        finished = seen >= total or ends_early(curves.validation, run.patience)
        accelerator.print(f"{run.name}: {'finished' if finished else 'resuming'} at {seen:,} of {total:,} images")

    def save_state() -> None:
        sums.check(run.name, seen)
        mean_buffers(accelerator, task.modules())
        check_agreement(accelerator, task.modules())
        shared = {"task": task.state(), "sums": sums.sums, "steps": sums.steps, **vars(curves)}
        save(run.work, seen, accelerator, decisions, shared, task.own_state(), curves.good)

    progress = _Progress(run, total, seen, accelerator.is_main_process)
    with _stop_signal(accelerator.num_processes) as stop, ThreadPoolExecutor(1) as ahead:
        batch = None if finished else ahead.submit(task.read, seen)
        turns = _Turns(accelerator, run.save_every_seconds)
        while batch is not None:
            started = time.monotonic()
            data = batch.result()
            progress.waited += time.monotonic() - started
            batch = ahead.submit(task.read, seen + run.batch) if seen + run.batch < total else None
            seed_step(run.seed, seen, rank)
            sums.add(task.step(data, seen))
            seen += run.batch
            if seen % run.log_every == 0 or seen == total:
                curves.training.append({"images": seen, **sums.take(run.name, seen)})
            if seen == total or seen // run.evaluate_every > (seen - run.batch) // run.evaluate_every:
                mean_buffers(accelerator, task.modules())
                try:
                    curves.validation.append({"images": seen, **task.evaluate(seen)})
                except TrainingFailed:
                    if accelerator.is_main_process:
                        roll_back(run.work, curves.good)
                    raise
                finished = seen == total or ends_early(curves.validation, run.patience)
            progress.show(seen, curves)
            if finished:
                break
            stopping, saving = turns.ask(stop.requested)
            if saving:
                save_state()
                turns.saved = time.monotonic()
            if stopping:
                raise Interrupted(f"{run.name}: stopped at {seen:,} of {total:,} images; run it again to go on")
        save_state()  # in here: a signal since the last step is sent on when this `with` ends
    return curves


class _Sums:
    """Loss sums since the last row of the curve; they stay on the device until they are asked for."""

    def __init__(self, sums: dict[str, torch.Tensor] | None = None, steps: int = 0) -> None:
        self.sums, self.steps = sums or {}, steps

    def add(self, losses: dict[str, torch.Tensor]) -> None:
        for name, loss in losses.items():
            value = loss.detach().double()
            self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value
        self.steps += 1

    def check(self, run: str, seen: int) -> None:
        for name, value in self.sums.items():
            if not math.isfinite(float(value)):
                raise TrainingFailed(
                    f"{run}: loss '{name}' is not finite at {seen:,} images; the last state is kept: "
                    "lower the learning rate"
                )

    def take(self, run: str, seen: int) -> Row:
        self.check(run, seen)
        means = {name: float(value) / self.steps for name, value in self.sums.items()}
        self.sums, self.steps = {}, 0
        return means


class _Progress:
    """One line every few seconds: images, rate, time left, losses, share of the time spent waiting for data."""

    def __init__(self, run: Run, total: int, seen: int, speaks: bool) -> None:
        self.run, self.total, self.first, self.speaks = run, total, seen, speaks
        self.started = self.last = time.monotonic()
        self.waited = 0.0
        self.shown = 0  # images of the validation shown last

    def show(self, seen: int, curves: Curves) -> None:
        now = time.monotonic()
        if not self.speaks or (now - self.last < 10 and seen < self.total):
            return
        self.last = now
        rate = (seen - self.first) / (now - self.started)
        left = int((self.total - seen) / rate)
        figures = {**curves.training[-1]} if curves.training else {}
        if curves.validation and curves.validation[-1]["images"] > self.shown:  # once each: they may be many
            figures |= curves.validation[-1]
            self.shown = int(curves.validation[-1]["images"])
        words = " ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "images")
        print(
            f"{self.run.name}: {seen:,}/{self.total:,} images  {rate:.1f}/s  {left // 60}:{left % 60:02d} left  "
            f"waiting {self.waited / (now - self.started):.1%}  {words}",
            flush=True,
        )


class _Turns:
    """Whether to save or stop after a step. All ranks take the same turn; asking costs them a collective."""

    def __init__(self, accelerator: "Accelerator", save_every_seconds: float) -> None:
        self.accelerator, self.every = accelerator, save_every_seconds
        self.saved = self.asked = time.monotonic()
        self.steps, self.next = 0, 1  # since it asked; at which it asks again

    def ask(self, stop: bool) -> tuple[bool, bool]:
        """(whether to stop, whether to save): if any rank was told to, or its time has come."""
        self.steps += 1
        if self.steps < self.next:
            return False, False
        now = time.monotonic()
        wishes = [float(stop), float(now - self.saved >= self.every), (now - self.asked) / self.steps]
        if self.accelerator.num_processes > 1:
            every = self.accelerator.gather(torch.tensor(wishes, device=self.accelerator.device))
            wishes = every.reshape(-1, 3).amax(0).tolist()
            self.next = min(100, max(1, int(min(ASK_EVERY, self.every) / max(wishes[2], 1e-6))))
        self.asked, self.steps = now, 0
        return bool(wishes[0]), bool(wishes[0] or wishes[1])


class _Stop:
    requested = False


@contextmanager
def _stop_signal(ranks: int) -> Iterator[_Stop]:
    """SIGTERM (a scheduler's pre-emption) and SIGINT set a flag, so that the step in hand ends and is saved.

    A signal that found the training at its end is sent again, to whom it concerns then. An error says more than it; but
    of several ranks one that lost its peer ends as the launcher bids it, which says who died.
    """
    stop = _Stop()
    received = []

    def on_signal(number: int, frame: object) -> None:
        stop.requested = True
        received.append(number)

    try:
        with on_signals(signal.SIGTERM, signal.SIGINT, call=on_signal) as afterwards:
            try:
                yield stop
            except PipelineError:
                if ranks > 1:  # a second one, from the launcher, is on its way: this rank must live to say why it ends
                    afterwards.update(dict.fromkeys(afterwards, signal.SIG_IGN))
                raise
    except Exception as error:
        if received and ranks > 1 and not isinstance(error, PipelineError):
            os.kill(os.getpid(), received[0])
        raise
    if received:
        os.kill(os.getpid(), received[0])
