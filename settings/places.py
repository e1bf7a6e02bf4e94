"""Where raw and made things lie on this machine: `local.yaml` and the environment, never `params.yaml`.

Nothing here changes a hash: another device, folder or number of workers must not make a stage stale.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from settings.errors import BadInput, BadParameter, WrongEnvironment
from settings.loader import Parameters, load_yaml, read_section

ROOT = Path(__file__).resolve().parent.parent
Raw = Literal["ct", "labels", "photos", "weights"]


class RawRoots(Parameters):
    """Folders (`labels`: a CSV file) of the user's own data; `~` is expanded."""

    ct: Path | None = None
    labels: Path | None = None
    photos: Path | None = None
    weights: Path | None = None


class Launch(Parameters):
    """How the stages that train or run networks are started."""

    processes: int = Field(default=1, ge=1)  # on this machine, without a configuration
    config: Path | None = None  # an accelerate configuration file; launch/ has some
    command: str = ""  # starts what follows it on every machine of a configuration with several
    address: str | None = None  # of machine 0, in place of the configuration's main_process_ip


class Local(Parameters):
    """`local.yaml`, git-ignored; every key has an environment variable that wins over it (`SCOPEFORMER_DEVICE`)."""

    raw: RawRoots = RawRoots()
    launch: Launch = Launch()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool | None = None  # the translator through torch.compile; None, `auto`: where it pays
    workers: int | None = Field(default=None, ge=1)  # None: one per core
    save_every_seconds: float = Field(default=120, ge=0)  # how much training a `kill -9` may cost

    @field_validator("compile", mode="before")
    @classmethod
    def _auto(cls, given: Any) -> Any:
        return None if given == "auto" else given


def main_checkout(root: Path = ROOT) -> Path:
    """The user's checkout, also when the code runs from one of DVC's temporary experiment folders.

    `dvc exp run --temp` and `--queue` work in `<checkout>/.dvc/tmp/exps/<name>`, without git-ignored files.
    """
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def work_root(root: Path = ROOT) -> Path:
    """The folder for training state, locks and logs: git-ignored and unknown to DVC."""
    return main_checkout(root) / "work"


def load_local(root: Path = ROOT) -> Local:
    """`local.yaml` (may be absent) under the environment's `SCOPEFORMER_*` variables."""
    path = main_checkout(root) / "local.yaml"
    data: dict[str, Any] = load_yaml(path) if path.exists() else {}
    for name, keys in {
        **{f"RAW_{raw.upper()}": ("raw", raw) for raw in RawRoots.model_fields},
        "DEVICE": ("device",),
        "PRECISION": ("precision",),
        "COMPILE": ("compile",),
        "WORKERS": ("workers",),
        "SAVE_EVERY_SECONDS": ("save_every_seconds",),
        "PROCESSES": ("launch", "processes"),
        "LAUNCH": ("launch", "config"),
        "LAUNCH_COMMAND": ("launch", "command"),
        "ADDRESS": ("launch", "address"),
    }.items():
        if value := os.environ.get(f"SCOPEFORMER_{name}"):
            place = data
            for key in keys[:-1]:
                place = place.setdefault(key, {})
                if not isinstance(place, dict):
                    raise BadParameter(f"local.yaml: {key}: must be a mapping")
            place[keys[-1]] = value
    return read_section(Local, data, "local.yaml")


def raw_root(local: Local, what: Raw) -> Path:
    """The user's folder (or label CSV) of one kind; BadInput when it is not named or does not exist."""
    path: Path | None = getattr(local.raw, what)
    if path is None:
        raise BadInput(
            f"raw.{what}: no place named; write it into local.yaml (raw: {{{what}: PATH}}) "
            f"or SCOPEFORMER_RAW_{what.upper()}"
        )
    path = path.expanduser()
    path = path if path.is_absolute() else main_checkout() / path
    if not path.exists():
        raise BadInput(f"raw.{what}: {path} does not exist; mend local.yaml or SCOPEFORMER_RAW_{what.upper()}")
    return path


def workers(local: Local) -> int:
    """Processes or threads for CPU work: `workers`, else this rank's part of the cores that the process may use."""
    if local.workers:
        return local.workers
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_space(folder: Path, needed: int) -> None:
    """WrongEnvironment unless `needed` bytes are free where `folder` is or will be."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise WrongEnvironment(
            f"{place}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed; free space or move the checkout"
        )
