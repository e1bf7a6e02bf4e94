"""Which stage reads and writes what, for the parameters and the CNN, corpus and variant tables at hand.

`stages/graph.py` turns it into `dvc.yaml`. Neither is in a stage's closure: what they decide DVC compares itself.
"""

from dataclasses import dataclass, field
from typing import Any

from audit.kinds import MADE_HERE
from audit.parameters import GanAudit
from backbones.parameters import Cnn, CnnFinetune, CorpusPretrain, ExtractFeatures, Weights, check_start, pretrained
from corpus.windows import parse_windows
from ct.parameters import PrepareCt, SplitCt
from ct.phantom_parameters import PhantomCt
from evaluation.floors import NAMES as FLOORS
from evaluation.parameters import Evaluate, Floors, Report
from gan.parameters import GanGenerate, GanTrain
from photos.parameters import PreparePhotos, read_corpora
from settings.errors import BadParameter
from settings.loader import Parameters, known_section, nearest, read_section, read_table, read_value
from vit.parameters import Variant, Vit, VitTrain

SECTIONS: dict[str, type[Parameters]] = {
    "phantom_ct": PhantomCt, "prepare_ct": PrepareCt, "split_ct": SplitCt, "prepare_photos": PreparePhotos,
    "gan_train": GanTrain, "gan_generate": GanGenerate, "gan_audit": GanAudit,
    "corpus_pretrain": CorpusPretrain, "cnn_finetune": CnnFinetune, "extract_features": ExtractFeatures,
    "vit": Vit, "vit_train": VitTrain, "evaluate": Evaluate, "floors": Floors, "report": Report,
}  # fmt: skip
TABLES = ("cnns", "variants", "corpora")
SPLIT = {
    name: f"artifacts/split/{name}.parquet"
    for name in ("train-ids", "val-ids", "parts", "labels-train", "labels-val", "labels-test", "labels-hold-out")
}


@dataclass(frozen=True)
class Node:
    """One stage, or one foreach group of stages (`items`: key → the inputs of that item alone).

    `item_params`: key → the parameters that this item alone reads.
    """

    name: str
    deps: list[str]
    params: list[str]
    outs: list[str]
    items: dict[str, list[str]] | None = None
    item_params: dict[str, list[str]] = field(default_factory=dict)
    ranks: bool = False  # runs on the ranks that `local.yaml: launch` names
    shares: bool = False  # its files are shared out to machines, one process on each
    files: list[str] = field(default_factory=list)  # files the code reads besides modules: templates

    @property
    def module(self) -> str:
        """The stage file, `stages/gan_train.py` for `gan-train`."""
        return f"stages/{self.name.replace('-', '_')}.py"


def validate(params: dict[str, Any]) -> None:
    """BadParameter for the first thing in `params.yaml` that cannot be, also across sections."""
    known = [*SECTIONS, *TABLES, "seed", "windows", "imagenet"]
    known_section(params, known)
    for name in known:
        if name not in params:
            raise BadParameter(f"params.yaml: section '{name}' is missing; take it from profiles/demo.yaml")
    read_value(int, params["seed"], "seed")
    read_value(Weights | None, params["imagenet"], "imagenet")
    parse_windows(params["windows"])
    for name, model in SECTIONS.items():
        read_section(model, params[name], name)
    _check_consistency(params)
    cnns, variants = _tables(params)
    sides = read_section(PrepareCt, params["prepare_ct"], "prepare_ct").sides
    wanted = [(f"cnns.{name}", cnn.side) for name, cnn in cnns.items()]
    wanted += [(f"variants.{name}", v.side) for name, v in variants.items() if not v.cnns and v.side]
    for where, side in wanted:
        if side not in sides:
            raise BadParameter(f"{where}.side: {side} is not among prepare_ct.sides {list(sides)}; add it there")
    corpora, architecture = [*read_corpora(params["corpora"])], params["corpus_pretrain"]["architecture"]
    for name, cnn in cnns.items():
        check_start(name, cnn, corpora, params["imagenet"] is not None, architecture)
    for name, variant in variants.items():
        _check_variant(name, variant, cnns, params["extract_features"]["cache"])
    reference, rivals = params["report"]["reference"], [*variants, *FLOORS]
    if reference not in rivals:
        raise BadParameter(f"report.reference: no variant and no floor '{reference}'{nearest(reference, rivals)}")


def _check_variant(name: str, variant: Variant, cnns: dict[str, Cnn], cache: bool) -> None:
    for cnn in variant.cnns:
        if cnn not in cnns:
            raise BadParameter(f"variants.{name}.cnns: there is no CNN '{cnn}'{nearest(cnn, list(cnns))}")
        if variant.encoder == "mean-logits" and cnns[cnn].trained_on != "ct":
            raise BadParameter(
                f"variants.{name}.cnns: {cnn} saw no CT labels and has no logits to average; "
                "take it out, or set its trained_on to ct"
            )
    if not cache and len({cnns[cnn].side for cnn in variant.cnns}) > 1:
        raise BadParameter(
            f"variants.{name}.cnns: see slices of different sides, so no common random view; "
            "give them one side, or set extract_features.cache to true"
        )


def _check_consistency(params: dict[str, Any]) -> None:
    """BadParameter where the translator would be held to a classifier that is, or comes from, the audit's own."""
    if not params["gan_train"]["consistency"]:
        return
    own, audit = params["imagenet"], params["gan_audit"]["classifier"]
    if not own:
        raise BadParameter("gan_train.consistency: needs a CNN to probe; name a weights file in imagenet, or take 0")
    if not audit or audit["sha256"] == own["sha256"]:
        raise BadParameter(
            "gan_train.consistency: the audit's classifier must be another network than that of imagenet, on which the "
            "translator's is fitted; name another file in gan_audit.classifier, or take 0"
        )


def _tables(params: dict[str, Any]) -> tuple[dict[str, Cnn], dict[str, Variant]]:
    return read_table(Cnn, params["cnns"], "cnns"), read_table(Variant, params["variants"], "variants")


def nodes(params: dict[str, Any]) -> list[Node]:
    """The graph that these parameters ask for, in an order in which it can run. `params` must be valid."""
    graph = [*_data(params), *_translator(params), *_cnns(params), *_heads(params)]
    return [*graph, _report(graph)]


def _data(params: dict[str, Any]) -> list[Node]:
    """From files, or what stands for them, to slices, their split, and photos."""
    phantom = params["prepare_ct"]["source"] == "phantom"
    drawn = params["prepare_photos"]["source"] == "drawn"
    source = ["artifacts/phantom"] if phantom else []
    listed = [file] if (file := params["split_ct"]["file"]) else []
    graph = []
    if phantom:
        graph.append(Node("phantom-ct", [], ["phantom_ct"], ["artifacts/phantom", "artifacts/phantom-masks"]))
    return [
        *graph,
        Node(
            "prepare-ct",
            source or ["data/ct.csv"],
            ["prepare_ct", "windows"],
            [*_images(params).values(), _hu(params)],
            shares=True,
        ),
        Node(
            "split-ct",
            [_hu(params), *(source or ["data/labels.csv"]), *listed],
            ["split_ct", "prepare_ct.source", "prepare_ct.ids", "prepare_ct.hu_side"],
            [*SPLIT.values(), "artifacts/split/folds.csv", "artifacts/split/label-report.csv"],
        ),
        Node("prepare-photos", [] if drawn else ["data/photos.csv"], ["prepare_photos"], ["artifacts/photos"]),
    ]


def _translator(params: dict[str, Any]) -> list[Node]:
    """Photos into the look of CT, and whether that is any good."""
    classifier = [] if params["gan_audit"]["classifier"] else ["artifacts/pretrained/photos"]
    beside = [path for name, path in controls(params).items() if params["corpora"][name]["kind"] not in MADE_HERE]
    return [
        Node(
            "gan-train",
            ["artifacts/photos", _hu(params), SPLIT["train-ids"], SPLIT["val-ids"], *_imagenet(params)],
            [
                "gan_train",
                "prepare_ct.hu_side",
                "imagenet",
                "corpus_pretrain.architecture",
                "corpus_pretrain.side",
                "seed",
            ],
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
        *_controls(params),
        *_corpora(params),
        Node(
            "gan-audit",
            ["artifacts/photos", "artifacts/translated", _hu(params), SPLIT["parts"], *classifier, *beside],
            ["gan_audit", "prepare_ct.hu_side", "seed"],
            ["artifacts/audit"],
            ranks=True,
            files=["audit/audit.html.j2"],
        ),
        Node(
            "gan-pretrain",
            ["artifacts/translated", *_imagenet(params)],
            ["corpus_pretrain", "imagenet", "seed"],
            ["artifacts/pretrained/translated"],
            ranks=True,
        ),
    ]


def controls(params: dict[str, Any]) -> dict[str, str]:
    """The corpora that stand beside the translated one: name → artifact."""
    found = read_corpora(params["corpora"])
    return {name: f"artifacts/controls/{name}" for name, corpus in found.items() if corpus.kind != "original"}


def _controls(params: dict[str, Any]) -> list[Node]:
    """What the translated corpus is compared with: made of the photos without a translator, or of its result."""
    views = [f"gan_train.ct_{name}" for name in ("view", "zoom", "tissue", "rotate", "flip")]
    restyled = (
        ["artifacts/photos", _hu(params), SPLIT["train-ids"]],
        ["seed", "gan_generate.side", "prepare_ct.hu_side", *views],
    )
    by_kind: dict[str, tuple[list[str], list[str]]] = {
        "grey": (["artifacts/photos"], ["windows", "gan_generate.side"]),
        "histogram": restyled,
        "fourier": restyled,
        "permuted": (["artifacts/translated"], ["seed"]),
        "untrained": (["artifacts/photos", "artifacts/gan"], ["seed", "gan_generate"]),
    }
    made = {name: by_kind[params["corpora"][name]["kind"]] for name in controls(params)}
    node = Node(
        "control-corpus",
        [],
        ["corpora.${key}"],
        ["artifacts/controls/${key}"],
        items={name: deps for name, (deps, _) in made.items()},
        item_params={name: keys for name, (_, keys) in made.items()},
        ranks=True,
    )
    return [node] if made else []


def _corpora(params: dict[str, Any]) -> list[Node]:
    """The corpora that something is trained on: what stands for ImageNet weights, and what a CNN starts from."""
    starts = [cnn.start for cnn in _tables(params)[0].values()]
    items: dict[str, list[str]] = {}
    if not params["imagenet"] or not params["gan_audit"]["classifier"]:
        items["photos"] = ["artifacts/photos"]
    made = controls(params)
    items |= {
        name: [made.get(name, "artifacts/photos"), *_imagenet(params)] for name in params["corpora"] if name in starts
    }
    node = Node(
        "corpus-pretrain",
        [],
        ["corpus_pretrain", "imagenet", "seed"],
        ["artifacts/pretrained/${key}"],
        items=items,
        ranks=True,
    )
    return [node] if items else []


def _cnns(params: dict[str, Any]) -> list[Node]:
    """CNNs fitted on CT, or to its statistics alone, and the feature maps of those that a variant uses."""
    cnns, variants = _tables(params)
    images = _images(params)
    found = {name: pretrained(cnn.start, params["imagenet"] is not None) for name, cnn in cnns.items()}
    starts = {name: [path] if path else [] for name, path in found.items()}
    tuned, matched = ([name for name, cnn in cnns.items() if cnn.trained_on == kind] for kind in ("ct", "batchnorm"))
    used = {name for variant in variants.values() for name in variant.cnns}
    graph = []
    if tuned:
        graph.append(
            Node(
                "cnn-finetune",
                _fitting(),
                ["cnn_finetune", "imagenet", "seed", "cnns.${key}"],
                ["artifacts/cnns/${key}"],
                items={name: [images[cnns[name].side], *starts[name]] for name in tuned},
                ranks=True,
            )
        )
    if matched:
        graph.append(
            Node(
                "cnn-batchnorm",
                [SPLIT["parts"]],
                ["cnn_finetune.batch", "imagenet", "seed", "cnns.${key}"],
                ["artifacts/cnns/${key}"],
                items={name: [images[cnns[name].side], *starts[name]] for name in matched},
                ranks=True,
            )
        )
    if used:
        graph.append(
            Node(
                "extract-features",
                [],
                ["extract_features", "imagenet", "seed", "cnns.${key}"],
                ["artifacts/features/${key}"],
                items={
                    name: [
                        images[cnn.side],
                        *([f"artifacts/cnns/{name}"] if cnn.trained_on != "nothing" else starts[name]),
                    ]
                    for name, cnn in cnns.items()
                    if name in used
                },
                ranks=True,
            )
        )
    return graph


def _heads(params: dict[str, Any]) -> list[Node]:
    """Variants of the head, their scores, and the floors beside them."""
    cnns, variants = _tables(params)
    images = _images(params)

    def sources(variant: Variant) -> list[str]:
        seen = [] if params["extract_features"]["cache"] else [images[cnns[cnn].side] for cnn in variant.cnns[:1]]
        return [*(f"artifacts/features/{cnn}" for cnn in variant.cnns), *seen] or [images[int(variant.side or 0)]]

    return [
        Node(
            "vit-train",
            _fitting(),
            ["vit", "vit_train", "seed", "variants.${key}"],
            ["artifacts/vit/${key}"],
            items={name: sources(variant) for name, variant in variants.items()},
            ranks=True,
        ),
        Node(
            "evaluate",
            [SPLIT["parts"], SPLIT["labels-val"], SPLIT["labels-test"]],
            ["evaluate", "variants.${key}"],
            ["artifacts/evaluation/${key}"],
            items={name: [f"artifacts/vit/{name}", *sources(variant)] for name, variant in variants.items()},
            ranks=True,
        ),
        Node(
            "floors",
            [_hu(params), SPLIT["parts"], SPLIT["labels-train"], SPLIT["labels-test"]],
            ["floors", "evaluate.clip", "evaluate.intervals", "prepare_ct.hu_side"],
            ["artifacts/floors"],
        ),
    ]


def _report(graph: list[Node]) -> Node:
    """Reads what all the others made, but raw data, feature maps, control corpora and labels, and every provenance."""
    hidden = ("artifacts/split/label", "artifacts/split/folds", "artifacts/features/", "artifacts/controls/")
    made = [out for node in graph for out in all_outs(node)]
    made = [out for out in made if not out.startswith(hidden) and out != "artifacts/phantom"]
    return Node(
        "report",
        [*made, *(f"artifacts/provenance/{name}.json" for node in graph for name in full_names(node))],
        [
            "report",
            "variants",
            "cnns",
            "corpora",
            "prepare_ct",
            "prepare_photos.source",
            "imagenet",
            "evaluate.intervals",
            "evaluate.clip",
        ],
        ["artifacts/report"],
        files=["evaluation/report.html.j2", "evaluation/report.css"],
    )


def _hu(params: dict[str, Any]) -> str:
    return f"artifacts/ct/hu-{params['prepare_ct']['hu_side']}"


def _images(params: dict[str, Any]) -> dict[int, str]:
    return {side: f"artifacts/ct/images-{side}" for side in params["prepare_ct"]["sides"]}


def _fitting() -> list[str]:
    """What every training on labelled slices reads of the split."""
    return [SPLIT["parts"], SPLIT["labels-train"], SPLIT["labels-val"]]


def _imagenet(params: dict[str, Any]) -> list[str]:
    """What ImageNet pretraining gave: a weights file (a parameter) or, without one, the CNN trained on the photos."""
    path = pretrained("imagenet", params["imagenet"] is not None)
    return [path] if path else []


def full_names(node: Node) -> list[str]:
    """Names of its stages: its own, or one for each item of the group."""
    return [node.name] if node.items is None else [f"{node.name}@{key}" for key in node.items]


def all_outs(node: Node) -> list[str]:
    """Outs of all its items."""
    return [out.replace("${key}", key) for key in (node.items or {"": []}) for out in node.outs]
