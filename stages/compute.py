"""What the stages that train or run networks share: ranks and devices from accelerate, a training's place and length.

Apart from `stages/run.py`, so that an edit of `training/` does not make the stages stale that use no network.
"""

import json
from typing import TYPE_CHECKING

from stages.run import Job
from training.checkpoint import settle
from training.loop import Run
from training.precision import Decisions
from training.ranks import start

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerate(job: Job) -> tuple["Accelerator", Decisions]:
    """This rank's accelerator, and how it computes: as the state that is resumed did, if there is one."""
    accelerator, decisions = start(job.local)
    decisions = settle(job.work, decisions, accelerator)
    if accelerator.is_main_process:
        note = {**decisions.as_dict(), "ranks": accelerator.num_processes}
        (job.work / "computing.json").write_text(json.dumps(note))
    return accelerator, decisions


def train_run(job: Job, total: int, batch: int, seed: int, evaluate_every: int, patience: int | None = None) -> Run:
    """A training of this stage, counted in images over all ranks."""
    return Run(job.name, job.work, total, batch, seed, evaluate_every, job.local.save_every_seconds, patience)
