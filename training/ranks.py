"""Processes and devices, all through accelerate: start, agreement, one writer."""

import hashlib
import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from settings.errors import TrainingFailed, WrongEnvironment
from settings.places import Local
from training.precision import Decisions, decide, set_threads

if TYPE_CHECKING:
    from accelerate import Accelerator

RANKS_ASKED = "SCOPEFORMER_RANKS"  # set by whoever launches: how many ranks must have joined


def start(local: Local) -> tuple["Accelerator", Decisions]:
    """The accelerator of this rank and how it computes.

    Raises WrongEnvironment when a GPU was asked for and there is none, or when fewer ranks joined than were asked
    for (`accelerate launch --cpu` silently starts one).
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    if local.device == "cuda" and not torch.cuda.is_available():
        raise WrongEnvironment("device: cuda was asked for (local.yaml), torch sees none; set device: cpu or auto")
    device = "cuda" if local.device != "cpu" and torch.cuda.is_available() else "cpu"
    wish = local.precision
    if wish == "auto" and (launched := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        wish = "bf16" if launched == "bf16" else "fp32"  # `accelerate launch` always exports "no": that is unset
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    decisions = decide(device, wish, local_ranks)
    set_threads(decisions.threads)
    # accelerate has no other word for it yet
    warnings.filterwarnings("ignore", message=".*`broadcast_buffers` is deprecated", category=FutureWarning)
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",  # the step decides where autocast holds, from `decisions`
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    asked = int(os.environ.get(RANKS_ASKED, accelerator.num_processes))
    if accelerator.num_processes != asked:
        raise WrongEnvironment(
            f"launch: {asked} ranks were asked for, {accelerator.num_processes} joined; "
            "check local.yaml: launch (CPU ranks need torchrun, which `stage` starts itself)"
        )
    return accelerator, decisions


def mean_buffers(accelerator: "Accelerator", models: Iterable[nn.Module]) -> None:
    """Set floating buffers (BatchNorm's running statistics) to their mean over the ranks."""
    if accelerator.num_processes == 1:
        return
    for model in models:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(accelerator.reduce(buffer.detach().clone(), "mean"))


def check_agreement(accelerator: "Accelerator", models: Iterable[nn.Module]) -> None:
    """TrainingFailed unless every rank holds the same parameters, bit for bit."""
    if accelerator.num_processes == 1:
        return
    digest = hashlib.sha256()
    for model in models:
        for parameter in model.parameters():
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
    mine = torch.tensor(list(digest.digest()[:8]), device=accelerator.device)
    every = accelerator.gather(mine).reshape(-1, 8)
    if not bool((every == every[0]).all()):
        raise TrainingFailed("ranks hold different weights; this is a defect of the step: nothing was saved")


def my_rows(count: int, accelerator: "Accelerator") -> npt.NDArray[np.int64]:
    """Numbers of the rows that this rank takes of 0 … count - 1: as many on every rank, so the last may be repeats."""
    ranks, each = accelerator.num_processes, -(-count // accelerator.num_processes)
    return np.arange(accelerator.process_index, each * ranks, ranks, dtype=np.int64) % count


def gather_rows(mine: torch.Tensor, count: int, accelerator: "Accelerator") -> npt.NDArray[np.float32]:
    """Results for `my_rows` of every rank, in the order of the rows, repeats dropped; float32 on every rank."""
    ranks, each = accelerator.num_processes, len(mine)
    gathered = accelerator.gather(mine.float()).reshape(ranks, each, *mine.shape[1:]).transpose(0, 1)
    return gathered.reshape(ranks * each, *mine.shape[1:])[:count].cpu().numpy()
