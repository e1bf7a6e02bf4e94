"""The graph of `stages/nodes.py` in DVC's form: `render` gives the content of `dvc.yaml`.

Names with `@` exist only through `foreach`, and a list cannot be interpolated there: an item's own inputs go into
slots in0 … inK, and a shorter list repeats an input it has (a filler would make every item stale when K grows). So do
an item's own parameters, into param0 … paramK.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from settings.places import ROOT
from stages.nodes import all_outs, full_names, nodes

ROOMS = (
    "stages", "vit", "audit", "gan", "backbones", "ct", "photos", "training", "evaluation", "corpus", "settings",
)  # fmt: skip
PICTURES = {"corpus-pretrain": "confusion", "gan-pretrain": "confusion", "cnn-finetune": "scores"}


@dataclass(frozen=True)
class Declaration:
    """What one stage (an item of a group, or a plain one) may read and must write, as `dvc.yaml` says it."""

    name: str
    module: str
    deps: list[str]  # data
    code: list[str]  # modules and templates
    params: list[str]
    outs: list[str]
    ranks: bool
    shares: bool


def declarations(params: dict[str, Any]) -> dict[str, Declaration]:
    """Every single stage by its full name, in the order of `nodes`."""
    found = {}
    for node in nodes(params):
        code = [*closure(node.module), *node.files]
        for name, (key, own) in zip(full_names(node), (node.items or {"": []}).items(), strict=True):
            params_, outs = ([text.replace("${key}", key) for text in texts] for texts in (node.params, node.outs))
            params_ += node.item_params.get(key, [])
            found[name] = Declaration(
                name, node.module, [*node.deps, *own], code, params_, outs, node.ranks, node.shares
            )
    return found


def render(params: dict[str, Any]) -> dict[str, Any]:
    """The content of `dvc.yaml`."""
    graph = nodes(params)
    stages: dict[str, Any] = {}
    for node in graph:
        items = {
            key: {**_slots("in", node.items or {}, key), **_slots("param", node.item_params, key)}
            for key in node.items or {}
        }
        slots = sorted({slot for item in items.values() for slot in item})
        name = node.name if node.items is None else f"{node.name}@${{key}}"
        code = [*closure(node.module), *node.files]
        body = {
            "cmd": f"python pipeline.py stage {name}",
            "deps": [*code, *node.deps, *(f"${{item.{slot}}}" for slot in slots if slot.startswith("in"))],
            "params": [*node.params, *(f"${{item.{slot}}}" for slot in slots if slot.startswith("param"))],
            "outs": [*node.outs, f"artifacts/provenance/{name}.json"],
        }
        if node.items is None:
            stages[node.name] = body
        else:
            stages[node.name] = {"foreach": items, "do": body}
    names = {name for node in graph for name in full_names(node)}
    untrained = {f"artifacts/vit/{name}" for name, v in params["variants"].items() if v["encoder"] == "mean-logits"}
    curves = sorted(
        f"{out}/{file}.csv"
        for node in graph
        if node.name in ("corpus-pretrain", "gan-pretrain", "cnn-finetune", "vit-train")
        for out in all_outs(node)
        if out not in untrained
        for file in ("training", "validation")
    )
    pictures = sorted(
        f"{out}/{PICTURES[node.name]}.png" for node in graph if node.name in PICTURES for out in all_outs(node)
    )
    metrics = [f"artifacts/evaluation/{key}/metrics.json" for key in params["variants"]]
    return {
        "stages": stages,
        "metrics": ["artifacts/audit/metrics.json", *metrics] if "gan-audit" in names else metrics,
        "plots": [
            *_translator_plots(params["gan_train"]),
            *({path: {"x": "images"}} for path in curves),
            *pictures,
            *_score_plots(params),
        ],
    }


def _score_plots(params: dict[str, Any]) -> list[Any]:
    """Of every evaluation: ROC and precision of `any` as curves, all labels and the reliability as pictures."""
    axes = {"roc.csv": "false_positive_rate", "precision-recall.csv": "recall"}
    plots: list[Any] = []
    for folder in (f"artifacts/evaluation/{key}" for key in params["variants"]):
        plots += [{f"{folder}/{name}": {"x": x, "y": "any"}} for name, x in axes.items()]
        plots += [f"{folder}/{name}.png" for name in ("curves", "reliability")]
    return plots


def _slots(name: str, table: dict[str, list[str]], key: str) -> dict[str, str]:
    """name0 … nameK of one item, K + 1 = the longest list; a shorter one repeats its last."""
    longest = max(map(len, table.values()), default=0)
    return {f"{name}{i}": table[key][min(i, len(table[key]) - 1)] for i in range(longest)}


def _translator_plots(section: dict[str, Any]) -> list[dict[str, Any]]:
    """Plots of gan-train: curves that belong together in one, and KID beside its floor."""
    sides = ("ct", "photo")
    cycle = [f"cycle_{side}" for side in sides]
    game = [f"{loss}_{side}" for loss in ("adversarial", "discriminator") for side in sides]
    shown: list[tuple[str, str, list[str], str]] = [
        ("adversarial losses", "training", game, "squared error"),
        ("cycle and identity losses", "training", cycle, "mean absolute error"),
        ("KID of translations to val patients", "validation", ["kid", "kid_floor"], "KID"),
        (
            "figures of translations, of CT's or the photos' own",
            "validation",
            ["diversity", "levels", "hidden"],
            "ratio",
        ),
        ("who wins: 0 in equilibrium", "validation", [f"domination_{side}" for side in sides], "loss"),
        ("warnings", "validation", ["warnings"], "count"),
    ]
    if section["identity"]:  # without it there is no such loss
        cycle += [f"identity_{side}" for side in sides]
    return [
        {f"translator: {title}": {"x": "images", "y": {f"artifacts/gan/{file}.csv": columns}, "y_label": label}}
        for title, file, columns, label in shown
    ]


def to_yaml(content: dict[str, Any]) -> str:
    """`dvc.yaml` as text."""
    head = "# Rendered from params.yaml by `python pipeline.py graph`; edits here are overwritten.\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=120, default_flow_style=False)


@cache
def closure(module: str) -> tuple[str, ...]:
    """Paths of the repository modules that a module imports, itself included, at any depth and any place in the file.

    Found in the syntax tree, so that an import inside a function counts as well.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    return tuple(sorted(found))


@cache
def _imports(path: str) -> list[str]:
    """Paths of the repository modules that one names. Cached: most are in many closures, and every command renders."""
    found = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        else:
            continue
        for name in candidates:
            file = Path(*name.split(".")).with_suffix(".py")
            if name.split(".")[0] in ROOMS and (ROOT / file).is_file():
                found.append(file.as_posix())
    return found
