"""`pipeline.py plan`: what would run, in order, and why. `dvc repro --dry` does not look below a stale stage."""

from typing import Any

import yaml

from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import Declaration, declarations
from stages.nodes import validate


def print_plan() -> None:
    """Print what `dvc repro` would run and the reason for each stage."""
    from commands.declared import check_rendered

    params = load_yaml(ROOT / "params.yaml")
    validate(params)
    check_rendered(params)
    found = declarations(params)
    stale = reasons(found, dvc_status(), params, _locked())
    for name, why in stale.items():
        print(f"{name}: {'; '.join(why)}")
    print(
        f"{len(stale)} of {len(found)} stages would run"
        if stale
        else f"nothing to do: all {len(found)} stages are up to date"
    )


def dvc_status() -> dict[str, Any]:
    """DVC's own word on which stage changed how."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        # From another folder DVC puts the path of dvc.yaml before the name.
        return {name.rpartition("dvc.yaml:")[2]: changes for name, changes in repo.status().items()}


def reasons(
    found: dict[str, Declaration], status: dict[str, Any], params: dict[str, Any], locked: dict[str, Any]
) -> dict[str, list[str]]:
    """Stale stages in an order in which they can run, each with its reasons.

    A stage is stale by DVC's status, or because an input is made by a stale stage ("below X").
    """
    maker = {out: name for name, stage in found.items() for out in _made(name, stage)}
    stale: dict[str, list[str]] = {}
    for name, stage in found.items():
        why = [text for part in status.get(name, []) for text in _explain(part, stage, params, locked.get(name, {}))]
        if why and name not in locked:
            why = ["never run"]
        above = sorted({maker[dep] for dep in stage.deps if maker.get(dep) in stale})
        if above:
            made = {out for parent in found if parent in stale for out in _made(parent, found[parent])}
            why = [text for text in why if text.rpartition(" ")[2] not in made]
            shown = ", ".join(above[:3]) + (f" and {len(above) - 3} more" if len(above) > 3 else "")
            why.append(f"below {shown}")
        if why:
            stale[name] = why
    return stale


def _made(name: str, stage: Declaration) -> list[str]:
    return [*stage.outs, f"artifacts/provenance/{name}.json"]


def _explain(part: Any, stage: Declaration, params: dict[str, Any], locked: dict[str, Any]) -> list[str]:
    if isinstance(part, str):  # "changed command", "always changed"
        return [part]
    lines = []
    for what, changes in part.items():
        for path, change in changes.items():
            if what == "changed deps" and path == "params.yaml":
                old = locked.get("params", {}).get("params.yaml", {})
                lines += [f"{key}: {was!r} → {now!r}" for key, was, now in _differences(change, old, params)]
            elif what == "changed deps":
                kind = "module" if path in stage.code else "input"
                lines.append(f"{'new' if change == 'new' else change} {kind} {path}")
            elif path.startswith("artifacts/provenance/"):
                continue  # goes with the stage's other outs
            else:
                lines.append(f"{'missing' if change == 'deleted' else change} out {path}")
    if all("provenance" in path for changes in part.values() for path in changes) and not lines:
        lines.append("its provenance is missing or changed")
    return lines


def _differences(change: Any, old: dict[str, Any], params: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, recorded value, present value) of every leaf that differs below the changed keys."""
    keys = list(change) if isinstance(change, dict) else list(old)
    found = []
    for key in keys:
        now: Any = params
        for step in key.split("."):
            now = now.get(step) if isinstance(now, dict) else None
        found += _leaves(key, old.get(key), now)
    return found


def _leaves(key: str, old: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(now, dict):
        return [row for name in {**old, **now} for row in _leaves(f"{key}.{name}", old.get(name), now.get(name))]
    return [] if old == now else [(key, old, now)]


def _locked() -> dict[str, Any]:
    path = ROOT / "dvc.lock"
    return dict(yaml.safe_load(path.read_text()).get("stages", {})) if path.exists() else {}
