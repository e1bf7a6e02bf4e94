"""Training state on disk: everything a run needs to go on as if it had never stopped. Not an artifact.

`work/<stage>/<fingerprint>/state-<images>/` holds `shared.pt` (weights, EMA, optimisers, history), one
`rank-<r>.pt` per rank (pools) and `decisions.json`. It is written beside and renamed: a state that exists is whole.
"""

import json
import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from training.precision import Decisions, has_compiler

if TYPE_CHECKING:
    from accelerate import Accelerator


def latest(work: Path) -> Path | None:
    """The newest whole state under `work`, or None."""
    states = sorted(path for path in work.glob("state-*") if path.suffix != ".part")
    return states[-1] if states else None


def save(
    work: Path,
    images_seen: int,
    accelerator: "Accelerator",
    decisions: Decisions,
    shared: dict[str, Any],
    own: dict[str, Any],
) -> None:
    """Save the state at `images_seen` and remove the one before. Called by every rank; rank 0 writes `shared`.

    Both dictionaries hold tensors, numbers, strings, lists and dictionaries only (they are read with
    `weights_only=True`).
    """
    path = work / f"state-{images_seen:012d}"
    if path.exists():  # a run that was resumed at its end
        return
    part = path.with_suffix(".part")
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    accelerator.wait_for_everyone()
    torch.save(own, part / f"rank-{accelerator.process_index}.pt")
    if accelerator.is_main_process:
        torch.save({**shared, "images_seen": images_seen}, part / "shared.pt")
        (part / "decisions.json").write_text(json.dumps(_made_by(decisions, accelerator.num_processes)))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        part.rename(path)
        for old in work.glob("state-*"):
            if old != path:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load(path: Path, rank: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """`(shared, own)` of a state; `own` is empty for a rank that the saved run did not have."""
    shared = torch.load(path / "shared.pt", map_location="cpu", weights_only=True)
    mine = path / f"rank-{rank}.pt"
    return shared, torch.load(mine, map_location="cpu", weights_only=True) if mine.exists() else {}


def settle(work: Path, decisions: Decisions, accelerator: "Accelerator") -> Decisions:
    """How this run computes: as the state it resumes did, if there is one and the device is the same.

    Says what was decided, and 'not bit-exact' where the machine or the number of ranks is another.
    """
    state = latest(work)
    settled = decisions
    if state is not None:
        saved = json.loads((state / "decisions.json").read_text())
        if saved["decisions"]["torch_device"] == decisions.torch_device:
            settled = Decisions(**saved["decisions"])
            settled = replace(settled, compiled=settled.compiled and has_compiler())
        if saved != _made_by(settled, accelerator.num_processes):
            accelerator.print("resuming on another machine or number of ranks: not bit-exact")
    torch.set_num_threads(settled.threads)
    words = [settled.torch_device, settled.precision, (settled.channels_last and "channels_last") or "contiguous"]
    words += ["compiled"] if settled.compiled else []
    accelerator.print(f"computing: {', '.join(words)}, {settled.threads} threads, {accelerator.num_processes} ranks")
    return settled


def _made_by(decisions: Decisions, ranks: int) -> dict[str, Any]:
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = " ".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
    device = torch.cuda.get_device_name() if decisions.torch_device == "cuda" else cpu or platform.processor()
    return {"decisions": decisions.as_dict(), "ranks": ranks, "device": device, "torch": torch.__version__}
