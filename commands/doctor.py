"""`pipeline.py doctor`: what is here, what is missing, and what to do about it."""

import hashlib
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from commands.launch import read_plan
from settings.errors import PipelineError
from settings.loader import load_yaml
from settings.places import ROOT, Local, Raw, load_local, raw_root, work_root, workers

Finding = tuple[bool, str]  # fine or not, in words


def examine() -> list[Finding]:
    """Every finding, in the order: environment, device, ranks, parameters and graph, raw roots, weights, space."""
    params = load_yaml(ROOT / "params.yaml")
    local = load_local()
    return [
        *_environment(),
        *_device(local),
        *_graph(params),
        *_raw(params, local),
        *_weights(params, local),
        *_space(),
    ]


def print_doctor() -> int:
    """Print the findings; returns how many are not fine."""
    findings = examine()
    for fine, words in findings:
        print(f"{'  ok ' if fine else 'MISSING'}  {words}")
    return sum(not fine for fine, _ in findings)


def _environment() -> list[Finding]:
    found = [(sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer)")]
    for name in ("torch", "timm", "accelerate", "pydicom", "kornia", "dvc"):
        try:
            found.append((True, f"{name} {version(name)}"))
        except PackageNotFoundError:
            found.append((False, f"{name}: not installed; pip install --require-hashes -r requirements.txt"))
    on_path = shutil.which("python")
    same = on_path is not None and Path(on_path).resolve() == Path(sys.executable).resolve()
    found.append(
        (same, "`python` on PATH is this one" if same else "`python` on PATH is another; activate .venv, DVC calls it")
    )
    found.append(((ROOT / ".dvc").is_dir(), "this is a DVC repository"))
    return found


def _device(local: Local) -> list[Finding]:
    import torch

    from training.precision import cpu_has_bf16_units, decide

    count = torch.cuda.device_count()
    gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(count)) or "none"
    wanted = local.device == "cuda"
    device = "cuda" if count and local.device != "cpu" else "cpu"
    decisions = decide(device, local.precision, local.launch.processes if device == "cpu" else 1)
    units = "bf16 units" if cpu_has_bf16_units() else "no bf16 units"
    found = [
        (count > 0 or not wanted, f"GPUs: {gpus} (local.yaml device: {local.device})"),
        (True, f"CPU: {workers(local)} cores for workers, {units}"),
        (True, f"trainings compute on {device} in {decisions.precision}"),
    ]
    try:
        plan = read_plan(local)
    except PipelineError as error:
        return [*found, (False, str(error))]
    here, gpu = plan.ranks // plan.machines, device == "cuda" and not (plan.config and plan.cpu)
    words = f"ranks: {plan.ranks} on {plan.machines} machines" if plan.machines > 1 else f"ranks: {plan.ranks}"
    found.append((here <= count or not gpu, f"{words} for {count} GPUs here" if gpu else words))
    if plan.config and not plan.cpu and not count:
        found.append((False, f"launch.config: {Path(plan.config).name} is for GPUs, torch sees none"))
    return found


def _graph(params: dict[str, Any]) -> list[Finding]:
    from commands.declared import check_rendered
    from stages.graph import declarations
    from stages.nodes import validate
    from stages.scale import check_networks, drawn_counts, loads

    try:
        validate(params)
        check_rendered(params)
    except PipelineError as error:
        return [(False, str(error))]
    found = [(True, f"params.yaml and dvc.yaml agree: {len(declarations(params))} stages")]
    try:
        check_networks(params)
        built = sum(load.unit == "FLOP" for load in loads(params, drawn_counts(params)))
    except PipelineError as error:
        return [*found, (False, str(error))]
    return [*found, (True, f"networks of {built} stages can be built: CNNs cut where asked, heads fit their maps")]


def _raw(params: dict[str, Any], local: Local) -> list[Finding]:
    needed: list[Raw] = []
    if params.get("prepare_ct", {}).get("source") == "folder":
        needed += ["ct", "labels"]
    if params.get("prepare_photos", {}).get("source") == "folder":
        needed.append("photos")
    found: list[Finding] = [] if needed else [(True, "raw data: none needed, phantoms and drawn photos are built in")]
    for kind in needed:
        try:
            raw_root(local, kind)
        except PipelineError as error:
            found.append((False, str(error)))
            continue
        manifest = ROOT / "data" / f"{kind}.csv"
        listed = manifest.exists()
        found.append(
            (
                listed,
                f"raw.{kind}: {'listed in' if listed else 'not listed; run pipeline.py manifest for'} data/{kind}.csv",
            )
        )
    return found


def _weights(params: dict[str, Any], local: Local) -> list[Finding]:
    found: list[Finding] = []
    for where, weights in _named_weights(params, ""):
        try:
            path = raw_root(local, "weights") / weights["file"]
        except PipelineError as error:
            found.append((False, f"{where}: {error}"))
            continue
        if not path.is_file():
            found.append((False, f"{where}: {weights['file']} is not below raw.weights"))
            continue
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == weights["sha256"]
        words = "SHA-256 as in params.yaml" if same else "another SHA-256 than params.yaml says"
        found.append((same, f"{where}: {weights['file']}, {words}; licence: {weights.get('licence') or 'not stated'}"))
    return found


def _named_weights(data: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(data, dict):
        return []
    if {"file", "sha256"} <= data.keys():
        return [(where, data)]
    return [row for key, value in data.items() for row in _named_weights(value, f"{where}.{key}".lstrip("."))]


def _space() -> list[Finding]:
    found = []
    for name, place in (("artifacts and cache", ROOT), ("training state", work_root().parent)):
        free = shutil.disk_usage(place).free / 1e9
        found.append((free > 5, f"{name}: {free:.0f} GB free"))
    return found
