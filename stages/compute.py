"""What the stages that train or run networks share: ranks and devices from accelerate, a training's place and length.

Apart from `stages/run.py`, so that an edit of `training/` does not make the stages stale that use no network.
"""

import json
from typing import TYPE_CHECKING

from stages.run import Job
from training.checkpoint import settle
from training.loop import Run
from training.precision import Decisions, decide_compilation
from training.ranks import start

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerate(job: Job, compile_for: int = 0) -> tuple["Accelerator", Decisions]:
    """This rank's accelerator, and how it computes: as the state that is resumed did, if there is one.

    `compile_for`: images in all of a training whose networks may be compiled; 0: of one whose networks may not.
    """
    accelerator, decisions = start(job.local)
    if compile_for:
        decisions, why = decide_compilation(decisions, job.local.compile, compile_for)
        accelerator.print(f"torch.compile: {why}")
    decisions = settle(job.work, decisions, accelerator)
    if accelerator.is_main_process:
        note = {**decisions.as_dict(), "ranks": accelerator.num_processes}
        (job.work / "computing.json").write_text(json.dumps(note))
    return accelerator, decisions


def train_run(job: Job, total: int, batch: int, seed: int, evaluate_every: int) -> Run:
    """A training of this stage, counted in images over all ranks."""
    return Run(job.name, job.work, total, batch, seed, evaluate_every, job.local.save_every_seconds)
