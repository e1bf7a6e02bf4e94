"""Precision, memory format, threads and compilation of a run: decided here, once, and stored with the training state.

On a CPU with bf16 matrix units (AMX) autocast with channels_last is worth 2–4× for Xception; on one without, bf16
is emulated and slower. No timing probe: a probe would decide differently from run to run, and a resumed run must
compute what the interrupted one did.
"""

import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from settings.errors import WrongEnvironment
from settings.places import cores

# Images that earn a first step of 30 s back at 64² on two cores with AMX: 13 a second, of whose time a tenth is saved.
COMPILE_FROM = 4_000


@dataclass(frozen=True)
class Decisions:
    """How a run computes. Stored as a dictionary in the state; `torch_device` is where it does."""

    torch_device: str  # "cpu" or "cuda"
    precision: str  # "fp32" or "bf16"
    channels_last: bool  # for CNNs; the instance-normed translator loses by it on a CPU
    threads: int  # intra-op threads of this rank; another number changes the order of sums
    compiled: bool = False  # networks go through torch.compile, where a task offers it (the translator's)

    @property
    def dtype(self) -> torch.dtype:
        """Type that autocast computes in."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def autocast(self) -> torch.autocast:
        """Context of a forward pass; does nothing in fp32."""
        return torch.autocast(self.torch_device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of CNNs and of their input."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def compile_options(self) -> dict[str, Any]:
        """For `nn.Module.compile`; batches keep their size. On a GPU with CUDA graphs, which have never been run."""
        return {"dynamic": False, "mode": "reduce-overhead" if self.torch_device == "cuda" else "default"}

    def as_dict(self) -> dict[str, Any]:
        """For the state and for printing."""
        return asdict(self)


def cpu_has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AMX tiles), from its flags."""
    info = Path("/proc/cpuinfo")
    return info.exists() and " amx_bf16" in info.read_text()


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler: the one that CXX names, or one of the usual names on PATH."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)


def decide_compilation(decisions: Decisions, wish: bool | None, images: int) -> tuple[Decisions, str]:
    """The same decisions with compilation or without, for a training of `images` in all, and why.

    `wish` is `local.yaml`'s; None: where it is known to pay, which is on a CPU with bf16 units, in a training long
    enough to earn the first, compiling step back (9 to 100 s). Without a compiler it is off, whatever the wish.
    """
    if not has_compiler():
        return decisions, "eager: no C++ compiler here"
    if wish is not None:
        return replace(decisions, compiled=wish), f"{'compiled' if wish else 'eager'}: local.yaml says so"
    if decisions.torch_device == "cpu" and decisions.precision != "bf16":
        return decisions, "eager: compiling loses in fp32 on a CPU"
    if decisions.torch_device == "cuda":
        return decisions, "eager: no GPU has run the compiled step yet; `compile: true` in local.yaml tries it"
    if images < COMPILE_FROM:
        return decisions, f"eager: {images:,} images are too few to earn compiling back ({COMPILE_FROM:,})"
    return replace(decisions, compiled=True), f"compiled: {images:,} images earn it back"


def decide(device: str, precision: str, local_ranks: int = 1) -> Decisions:
    """Decide for a device ("cpu", "cuda") and the wish of `local.yaml` or of a launch configuration ("auto", …)."""
    if precision == "auto":
        units = cpu_has_bf16_units() if device == "cpu" else torch.cuda.is_bf16_supported()
        precision = "bf16" if units else "fp32"
    return Decisions(
        torch_device=device,
        precision=precision,
        channels_last=device == "cuda" or precision == "bf16",
        threads=max(1, cores() // local_ranks),
    )


def set_threads(threads: int) -> None:
    """Have torch compute with so many; WrongEnvironment where OMP_THREAD_LIMIT allows fewer.

    torch would get one thread and reckon with all: sums of gradients are then partly memory that nobody wrote.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    if limit.isdecimal() and int(limit) < threads:
        raise WrongEnvironment(
            f"OMP_THREAD_LIMIT={limit}: torch computes wrong sums with fewer threads than this run's {threads}; "
            "unset it, and give the process fewer cores instead (taskset -c 0)"
        )
    torch.set_num_threads(threads)
