"""The graph: stages, the CNN, corpus and variant tables → `dvc.yaml`.

`nodes` says which stage reads and writes what; `render` turns it into DVC's form. Names with `@` exist only through
`foreach`, and a list cannot be interpolated there: an item's own inputs go into slots in0 … inK, and a shorter list
repeats an input it has (a filler would make every item stale when K grows).

This file and `commands/` are in no stage's closure: what they decide is in `dvc.yaml`, which DVC compares itself.
"""

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from audit.parameters import GanAudit
from backbones.parameters import Cnn, CnnFinetune, Corpus, CorpusPretrain, ExtractFeatures, Weights
from corpus.windows import hu_range, parse_windows
from ct.parameters import PrepareCt, SplitCt
from ct.phantom_parameters import PhantomCt
from evaluation.parameters import Evaluate, Floors, Report
from gan.parameters import GanGenerate, GanTrain
from photos.parameters import PreparePhotos
from settings.errors import BadParameter
from settings.loader import Parameters, known_section, nearest, read_section, read_table, read_value
from settings.places import ROOT
from vit.parameters import Variant, Vit, VitTrain

ROOMS = (
    "stages", "vit", "audit", "gan", "backbones", "ct", "photos", "training", "evaluation", "corpus", "settings",
)  # fmt: skip
SECTIONS: dict[str, type[Parameters]] = {
    "phantom_ct": PhantomCt, "prepare_ct": PrepareCt, "split_ct": SplitCt, "prepare_photos": PreparePhotos,
    "gan_train": GanTrain, "gan_generate": GanGenerate, "gan_audit": GanAudit,
    "corpus_pretrain": CorpusPretrain, "cnn_finetune": CnnFinetune, "extract_features": ExtractFeatures,
    "vit": Vit, "vit_train": VitTrain, "evaluate": Evaluate, "floors": Floors, "report": Report,
}  # fmt: skip
TABLES = {"cnns": Cnn, "variants": Variant, "corpora": Corpus}


@dataclass(frozen=True)
class Node:
    """One stage, or one foreach group of stages (`items`: key → the inputs of that item alone)."""

    name: str
    deps: list[str]
    params: list[str]
    outs: list[str]
    items: dict[str, list[str]] | None = None
    ranks: bool = False  # runs under the launch that `local.yaml` names
    files: list[str] = field(default_factory=list)  # files the code reads besides modules: templates

    @property
    def module(self) -> str:
        """The stage file, `stages/gan_train.py` for `gan-train`."""
        return f"stages/{self.name.replace('-', '_')}.py"


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


def validate(params: dict[str, Any]) -> None:
    """BadParameter for the first thing in `params.yaml` that cannot be, also across sections."""
    known = [*SECTIONS, *TABLES, "seed", "windows", "imagenet"]
    known_section(params, known)
    for name in known:
        if name not in params:
            raise BadParameter(f"params.yaml: section '{name}' is missing; take it from profiles/demo.yaml")
    read_value(int, params["seed"], "seed")
    read_value(Weights | None, params["imagenet"], "imagenet")
    hu_range(parse_windows(params["windows"]))
    for name, model in SECTIONS.items():
        read_section(model, params[name], name)
    cnns, variants = _tables(params)
    sides = read_section(PrepareCt, params["prepare_ct"], "prepare_ct").sides
    wanted = [(f"cnns.{name}", cnn.side) for name, cnn in cnns.items()]
    wanted += [(f"variants.{name}", v.side) for name, v in variants.items() if not v.cnns and v.side]
    for where, side in wanted:
        if side not in sides:
            raise BadParameter(f"{where}.side: {side} is not among prepare_ct.sides {list(sides)}; add it there")
    for name, variant in variants.items():
        for cnn in variant.cnns:
            if cnn not in cnns:
                raise BadParameter(f"variants.{name}.cnns: there is no CNN '{cnn}'{nearest(cnn, list(cnns))}")
    if list(params["corpora"]) != ["photos"]:
        raise BadParameter("corpora: must name photos, and nothing else; no stage makes another corpus of photos")


def _tables(params: dict[str, Any]) -> tuple[dict[str, Cnn], dict[str, Variant]]:
    read_table(Corpus, params["corpora"], "corpora")
    return read_table(Cnn, params["cnns"], "cnns"), read_table(Variant, params["variants"], "variants")


def nodes(params: dict[str, Any]) -> list[Node]:
    """The graph that these parameters ask for, in an order in which it can run. `params` must be valid."""
    cnns, variants = _tables(params)
    phantom = params["prepare_ct"]["source"] == "phantom"
    hu = f"artifacts/ct/hu-{params['prepare_ct']['hu_side']}"
    images = {side: f"artifacts/ct/images-{side}" for side in params["prepare_ct"]["sides"]}
    split = {name: f"artifacts/split/{name}.parquet" for name in SPLIT}
    fitting = [split["parts"], split["labels-train"], split["labels-val"]]
    # What ImageNet pretraining gave: a weights file (a parameter) or, without one, the CNN trained on the photos.
    imagenet = [] if params["imagenet"] else ["artifacts/pretrained/photos"]
    starts = {
        name: {"imagenet": imagenet, "gan-pretrain": ["artifacts/pretrained/translated"]}.get(str(cnn.start), [])
        for name, cnn in cnns.items()
    }
    tuned = [name for name, cnn in cnns.items() if cnn.trained_on == "ct"]
    classifier = [] if params["gan_audit"]["classifier"] else ["artifacts/pretrained/photos"]

    def sources(variant: Variant) -> list[str]:
        return [f"artifacts/features/{cnn}" for cnn in variant.cnns] or [images[int(variant.side or 0)]]

    graph = []
    if phantom:
        graph.append(Node("phantom-ct", [], ["phantom_ct"], ["artifacts/phantom", "artifacts/phantom-masks"]))
    graph += [
        Node(
            "prepare-ct",
            ["artifacts/phantom" if phantom else "data/ct.csv"],
            ["prepare_ct", "windows"],
            [*images.values(), hu],
        ),
        Node(
            "split-ct",
            [
                hu,
                "artifacts/phantom" if phantom else "data/labels.csv",
                *([file] if (file := params["split_ct"]["file"]) else []),
            ],
            ["split_ct", "prepare_ct.source", "prepare_ct.ids", "prepare_ct.hu_side"],
            [*split.values(), "artifacts/split/folds.csv", "artifacts/split/label-report.csv"],
        ),
        Node(
            "prepare-photos",
            [] if params["prepare_photos"]["source"] == "drawn" else ["data/photos.csv"],
            ["prepare_photos"],
            ["artifacts/photos"],
        ),
        Node(
            "gan-train",
            ["artifacts/photos", hu, split["train-ids"]],
            ["gan_train", "prepare_ct.hu_side", "seed"],
            ["artifacts/gan"],
            ranks=True,
        ),
        Node(
            "gan-generate",
            ["artifacts/gan", "artifacts/photos"],
            ["gan_generate"],
            ["artifacts/translated"],
            ranks=True,
        ),
        Node(
            "corpus-pretrain",
            ["artifacts/photos"],
            ["corpus_pretrain", "imagenet", "seed", "corpora.${key}"],
            ["artifacts/pretrained/${key}"],
            items={name: [] for name in params["corpora"]},
            ranks=True,
        ),
        Node(
            "gan-audit",
            ["artifacts/photos", "artifacts/translated", hu, split["parts"], *classifier],
            ["gan_audit", "prepare_ct.hu_side", "seed"],
            ["artifacts/audit"],
            ranks=True,
        ),
        Node(
            "gan-pretrain",
            ["artifacts/translated", *imagenet],
            ["corpus_pretrain", "imagenet", "seed"],
            ["artifacts/pretrained/translated"],
            ranks=True,
        ),
    ]
    if tuned:
        graph.append(
            Node(
                "cnn-finetune",
                fitting,
                ["cnn_finetune", "imagenet", "seed", "cnns.${key}"],
                ["artifacts/cnns/${key}"],
                items={name: [images[cnns[name].side], *starts[name]] for name in tuned},
                ranks=True,
            )
        )
    if used := {name for variant in variants.values() for name in variant.cnns}:
        graph.append(
            Node(
                "extract-features",
                [],
                ["extract_features", "imagenet", "seed", "cnns.${key}"],
                ["artifacts/features/${key}"],
                items={
                    name: [images[cnn.side], *([f"artifacts/cnns/{name}"] if name in tuned else starts[name])]
                    for name, cnn in cnns.items()
                    if name in used
                },
                ranks=True,
            )
        )
    graph += [
        Node(
            "vit-train",
            fitting,
            ["vit", "vit_train", "seed", "variants.${key}"],
            ["artifacts/vit/${key}"],
            items={name: sources(variant) for name, variant in variants.items()},
            ranks=True,
        ),
        Node(
            "evaluate",
            [split["parts"], split["labels-val"], split["labels-test"]],
            ["evaluate", "variants.${key}"],
            ["artifacts/evaluation/${key}"],
            items={name: [f"artifacts/vit/{name}", *sources(variant)] for name, variant in variants.items()},
            ranks=True,
        ),
        Node(
            "floors",
            [hu, split["parts"], split["labels-train"], split["labels-test"]],
            ["floors", "prepare_ct.hu_side"],
            ["artifacts/floors"],
        ),
    ]
    above = [node for node in graph if node.name != "extract-features"]
    made = [
        out
        for node in above
        for out in _outs(node)
        if not out.startswith(("artifacts/split/label", "artifacts/split/folds")) and out != "artifacts/phantom"
    ]
    graph.append(
        Node(
            "report",
            [*made, *(f"artifacts/provenance/{name}.json" for node in graph for name in _names(node))],
            ["report", "variants", "cnns", "corpora", "prepare_ct", "prepare_photos.source", "imagenet"],
            ["artifacts/report"],
            files=["evaluation/report.html.j2"],
        )
    )
    return graph


SPLIT = ("train-ids", "parts", "labels-train", "labels-val", "labels-test", "labels-hold-out")


def _names(node: Node) -> list[str]:
    return [node.name] if node.items is None else [f"{node.name}@{key}" for key in node.items]


def _outs(node: Node) -> list[str]:
    return [out.replace("${key}", key) for key in (node.items or {"": []}) for out in node.outs]


def declarations(params: dict[str, Any]) -> dict[str, Declaration]:
    """Every single stage by its full name, in the order of `nodes`."""
    found = {}
    for node in nodes(params):
        code = [*closure(node.module), *node.files]
        for name, (key, own) in zip(_names(node), (node.items or {"": []}).items(), strict=True):
            fill = [text.replace("${key}", key) for text in (*node.params, "\0", *node.outs)]
            cut = fill.index("\0")
            found[name] = Declaration(
                name, node.module, [*node.deps, *own], code, fill[:cut], fill[cut + 1 :], node.ranks
            )
    return found


def render(params: dict[str, Any]) -> dict[str, Any]:
    """The content of `dvc.yaml`."""
    graph = nodes(params)
    stages: dict[str, Any] = {}
    for node in graph:
        slots = max((len(own) for own in (node.items or {}).values()), default=0)
        name = node.name if node.items is None else f"{node.name}@${{key}}"
        code = [*closure(node.module), *node.files]
        body = {
            "cmd": f"python pipeline.py stage {name}",
            "deps": [*code, *node.deps, *(f"${{item.in{i}}}" for i in range(slots))],
            "params": node.params,
            "outs": [*node.outs, f"artifacts/provenance/{name}.json"],
        }
        if node.items is None:
            stages[node.name] = body
        else:
            items = {
                key: {f"in{i}": own[min(i, len(own) - 1)] for i in range(slots)} for key, own in node.items.items()
            }
            stages[node.name] = {"foreach": items, "do": body}
    names = {name for node in graph for name in _names(node)}
    curves = sorted(
        f"{out}/{file}.csv"
        for node in graph
        if node.name in ("gan-train", "corpus-pretrain", "gan-pretrain", "cnn-finetune", "vit-train")
        for out in _outs(node)
        for file in ("training", "validation")
    )
    metrics = [f"artifacts/evaluation/{key}/metrics.json" for key in params["variants"]]
    return {
        "stages": stages,
        "metrics": ["artifacts/audit/metrics.json", *metrics] if "gan-audit" in names else metrics,
        "plots": [{path: {"x": "images"}} for path in curves],
    }


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
        if path in found:
            continue
        found.add(path)
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
                    waiting.append(file.as_posix())
    return tuple(sorted(found))
