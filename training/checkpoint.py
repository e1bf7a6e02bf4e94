"""Training state on disk: everything a run needs to go on as if it had never stopped. Not an artifact.

`work/<stage>/<fingerprint>/state-<images>/` holds `shared.pt` (weights, EMA, optimisers, history), one
`rank-<r>.pt` per rank (pools) and `decisions.json`. It is written beside, flushed to the disk and renamed: a state that
exists is whole, also after a power cut.
"""

import json
import os
import platform
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from settings.errors import TrainingFailed
from training.precision import Decisions, has_compiler, set_threads

if TYPE_CHECKING:
    from accelerate import Accelerator


def latest(work: Path) -> Path | None:
    """The newest whole state under `work`, or None."""
    states = _states(work)
    return states[-1] if states else None


def save(
    work: Path,
    images_seen: int,
    accelerator: "Accelerator",
    decisions: Decisions,
    shared: dict[str, Any],
    own: dict[str, Any],
    good: int = 0,
) -> None:
    """Save the state at `images_seen`, and remove those before but the newest of at most `good` images.

    Called by every rank; rank 0 writes `shared`. Both dictionaries hold tensors, numbers, strings, lists and
    dictionaries only (they are read with `weights_only=True`). TrainingFailed, and nothing saved or removed, when a
    tensor of `shared` is not finite.
    """
    path = work / f"state-{images_seen:012d}"
    if path.exists():  # a run that was resumed at its end
        return
    if not _finite(shared):
        raise TrainingFailed(
            f"weights, averages or moments are not finite at {images_seen:,} images; the last state is kept: "
            "lower the learning rate"
        )
    part = path.with_suffix(".part")
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    accelerator.wait_for_everyone()
    mine = part / f"rank-{accelerator.process_index}.pt"
    torch.save(own, mine)
    _flush(mine)
    if accelerator.is_main_process:
        torch.save({**shared, "images_seen": images_seen}, part / "shared.pt")
        (part / "decisions.json").write_text(json.dumps(_made_by(decisions, accelerator.num_processes)))
        _flush(part / "shared.pt", part / "decisions.json")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _flush(part)  # the names in it
        part.rename(path)
        _flush(work)  # the new name, before the older states go
        keep = {path, *[state for state in _states(work) if _images(state) <= good][-1:]}
        for old in work.glob("state-*"):
            if old not in keep:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def roll_back(work: Path, good: int) -> None:
    """Remove the states of more than `good` images, if there is an earlier one."""
    states = _states(work)
    if any(_images(state) <= good for state in states):
        for state in states:
            if _images(state) > good:
                shutil.rmtree(state)


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
    set_threads(settled.threads)
    words = [settled.torch_device, settled.precision, (settled.channels_last and "channels_last") or "contiguous"]
    words += ["compiled"] if settled.compiled else []
    accelerator.print(f"computing: {', '.join(words)}, {settled.threads} threads, {accelerator.num_processes} ranks")
    return settled


def _flush(*paths: Path) -> None:
    """Have what was written to files, or the names in folders, on the disk: a rename may else come there first."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _states(work: Path) -> list[Path]:
    """Whole states, oldest first."""
    return sorted(path for path in work.glob("state-*") if path.suffix != ".part")


def _images(state: Path) -> int:
    return int(state.name.removeprefix("state-"))


def _finite(value: Any) -> bool:
    """Whether every tensor in nested dictionaries and lists is finite."""
    if isinstance(value, dict):
        return all(_finite(part) for part in value.values())
    if isinstance(value, list | tuple):
        return all(_finite(part) for part in value)
    return not isinstance(value, torch.Tensor) or bool(torch.isfinite(value).all())


def _made_by(decisions: Decisions, ranks: int) -> dict[str, Any]:
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = " ".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
    device = torch.cuda.get_device_name() if decisions.torch_device == "cuda" else cpu or platform.processor()
    return {"decisions": decisions.as_dict(), "ranks": ranks, "device": device, "torch": torch.__version__}
