"""What each stage of a parameter set costs, from what stages of a finished run took on the same machine.

The work of a stage (`loads`) is counted from the parameters: floating-point operations where networks run, pixels or
slices elsewhere. A `Machine` says how fast such work went in a run that is over; `predict` scales it up. Nothing here
is measured, and no stage imports it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from pydantic import Field

from backbones.cost import cost
from backbones.feature_cnn import FeatureCnn, build
from backbones.freeze import freeze
from backbones.parameters import Cnn
from gan.networks import Discriminator, Generator
from gan.parameters import GanTrain
from settings.errors import BadParameter
from settings.loader import Parameters, read_section, read_table
from stages.nodes import Node, nodes
from vit.head import build_head, head_cost
from vit.parameters import Variant, Vit

LABELS = 6
META = torch.device("meta")  # networks are built there: no memory, no time
RAW_PIXELS = 512**2  # of a DICOM file, two bytes each
# Passes over a generator in a step for one image of each kind, and over a discriminator; a forward pass that is
# trained through is three. Six generator passes: there, back and identity both ways. Two discriminator passes under
# the generators' loss (forward, and the gradient of its input), four under its own.
GENERATOR_PASSES, DISCRIMINATOR_PASSES = 6 * 3, 2 * 2 + 4 * 3


class Counts(NamedTuple):
    """How much data there is."""

    slices: int
    photos: int  # to train on
    held_out: int  # photos

    @property
    def all_photos(self) -> int:
        """Both parts."""
        return self.photos + self.held_out


class Load(NamedTuple):
    """The work of one stage."""

    stage: str
    rate: str  # stages with the same one are as fast for each unit of work
    unit: str  # "FLOP", "pixels", "slices", "photos" or "runs"
    work: float
    size: str  # what else decides how fast it goes: a rate that was measured at another one is extrapolated
    bytes: int  # of its outs on disk, but what is less than some MB
    batch_flops: float = 0  # of the images that are in memory at once, forward; 0: memory does not grow with it


class Measured(Parameters):
    """One stage of a run that is over."""

    stage: str
    rate: str
    unit: str
    work: float = Field(ge=0)
    size: str
    batch_flops: float = Field(ge=0)
    seconds: float = Field(ge=0)
    fixed_s: float = Field(ge=0)  # of these, what no work makes longer: the start of a process that computes
    memory_mb: float | None = Field(default=None, gt=0)  # largest resident set of a process


class Machine(Parameters):
    """How fast a machine works: `pipeline.py plan --measure`."""

    command: str  # that wrote this
    revision: str  # of the code that ran
    processor: str
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    device: str  # "cpu" or "cuda"
    devices: int = Field(ge=1)  # ranks
    precision: str
    start_s: float = Field(ge=0)  # of the shortest stage that trains or runs networks: nearly all of it are imports
    start_mb: float = Field(gt=0)  # of the smallest such process
    stages: tuple[Measured, ...]


class Row(NamedTuple):
    """What is predicted of one stage; None where nothing like it was measured."""

    stage: str
    seconds: float | None
    bytes: int
    memory_mb: float | None  # None also: of other networks than those measured, whose FLOPs say little about it
    device_hours: float | None  # None: it runs no network
    basis: str  # "measured", "extrapolated" or "unknown"


def predict(load: Load, machine: Machine) -> Row:
    """Seconds and memory of a stage: a fixed start, then work at the rate of those like it together.

    "measured" means: of the same networks at the same sizes. "extrapolated": of others, taken to need
    the same time for each FLOP, pixel or slice. Memory beyond that of a start is taken to grow with `batch_flops`.
    """
    kin = [one for one in machine.stages if (one.rate, one.unit) == (load.rate, load.unit)]
    same = [one for one in kin if one.size == load.size] or kin
    network = load.unit == "FLOP"
    fixed = max((one.fixed_s for one in same), default=machine.start_s if network else 0.0)
    worked = [(one.work, max(one.seconds - one.fixed_s, 0.1 * one.seconds)) for one in same if one.work]
    if load.work and not worked:
        return Row(load.stage, None, load.bytes, None, None, "unknown")
    seconds = fixed + (load.work * sum(s for _, s in worked) / sum(w for w, _ in worked) if load.work else 0.0)
    is_same = any(one.size == load.size for one in same) or not load.work
    basis = "measured" if is_same else "extrapolated"
    heavy = [(one.batch_flops, one.memory_mb) for one in same if one.memory_mb]
    memory = None
    if heavy and (is_same or not load.batch_flops):
        flops, most = max(heavy)
        memory = most
        if load.batch_flops and flops:
            memory = machine.start_mb + max(most - machine.start_mb, 0.0) * load.batch_flops / flops
    return Row(load.stage, seconds, load.bytes, memory, seconds * machine.devices / 3600 if network else None, basis)


def loads(params: dict[str, Any], counts: Counts, ranks: int = 1) -> list[Load]:
    """The work of every stage of the graph that these parameters ask for; `params` must be valid."""
    sizes = _Sizes(params, counts, ranks)
    return [getattr(sizes, node.name.replace("-", "_"))(key) for node in nodes(params) for key in _keys(node)]


def drawn_counts(params: dict[str, Any]) -> Counts:
    """How many phantoms and drawn photos the parameters ask for (0 where folders are read)."""
    phantom, photos = params["phantom_ct"], params["prepare_photos"]
    slices = phantom["patients"] * phantom["slices"] if params["prepare_ct"]["source"] == "phantom" else 0
    if photos["source"] != "drawn":
        return Counts(slices, 0, 0)
    drawn = photos["drawn"]
    held_out = min(drawn["per_class"] - 1, max(1, round(drawn["per_class"] * drawn["held_out_share"])))
    return Counts(slices, drawn["classes"] * (drawn["per_class"] - held_out), drawn["classes"] * held_out)


def _keys(node: Node) -> list[str]:
    return list(node.items) if node.items is not None else [""]


@lru_cache(maxsize=64)
def network_cost(architecture: str, outputs: int, side: int, stage: str = "") -> tuple[int, int, tuple[int, ...]]:
    """Parameters of a whole timm CNN, FLOPs of a pass for one image, up to the module `stage`, and that map's shape."""
    with META:
        model = build(architecture, outputs, 1e-5)
    whole = cost(model, torch.zeros(1, 3, side, side, device="meta"))
    if not stage:
        return whole["parameters"], whole["flops"], ()
    cut = FeatureCnn(model, stage)
    flops = cost(cut, torch.zeros(1, 3, side, side, device="meta"))["flops"]
    return whole["parameters"], flops, cut.shape(side)


def check_networks(params: dict[str, Any]) -> None:
    """BadParameter for a CNN that cannot be built, cut or frozen where asked, or a head that does not fit its maps.

    Names the entry of `cnns` or `variants`; `params` must be valid. Takes seconds.
    """
    sizes = _Sizes(params, Counts(0, 0, 0), 1)
    for name, cnn in sizes.cnns.items():
        with _naming(f"cnns.{name}"):
            network_cost(cnn.architecture, LABELS, cnn.side, cnn.stage)
            if cnn.frozen:
                with META:
                    freeze(build(cnn.architecture, LABELS, 1e-5), cnn.frozen)
    for name in sizes.variants:
        with _naming(f"variants.{name}"):
            sizes.head(name)


@contextmanager
def _naming(entry: str) -> Iterator[None]:
    try:
        yield
    except BadParameter as error:
        raise BadParameter(f"{entry}.{error}") from None


class _Sizes:
    """The load of each stage: a method of its name, by the key behind the `@`."""

    def __init__(self, params: dict[str, Any], counts: Counts, ranks: int) -> None:
        self.params, self.counts, self.ranks = params, counts, ranks
        split = params["split_ct"]
        rest = 1 - split["hold_out_share"]
        test = rest / split["folds"]
        self.val = round(counts.slices * (rest - test) * split["val_share"])
        self.test = round(counts.slices * test)
        self.cnns = read_table(Cnn, params["cnns"], "cnns")
        self.variants = read_table(Variant, params["variants"], "variants")

    def phantom_ct(self, _: str) -> Load:
        slices = self.counts.slices
        return Load("phantom-ct", "phantom-ct", "slices", slices, "", slices * RAW_PIXELS * 2)

    def prepare_ct(self, _: str) -> Load:
        section = self.params["prepare_ct"]
        sides, hu = section["sides"], section["hu_side"]
        out = sum(3 * side**2 for side in sides) + hu**2
        pixels = RAW_PIXELS + sum(side**2 for side in sides) + hu**2
        work, size = self.counts.slices * pixels, f"{sides} {hu}"
        return Load("prepare-ct", "prepare-ct", "pixels", work, size, self.counts.slices * out)

    def split_ct(self, _: str) -> Load:
        return Load("split-ct", "split-ct", "slices", self.counts.slices, "", 0)

    def prepare_photos(self, _: str) -> Load:
        section = self.params["prepare_photos"]
        pixels = self.counts.all_photos * section["side"] ** 2
        rate = f"prepare-photos {section['source']}"
        return Load("prepare-photos", rate, "pixels", pixels, str(section["side"]), 3 * pixels)

    def gan_train(self, _: str) -> Load:
        p = read_section(GanTrain, self.params["gan_train"], "gan_train")
        parameters, forward = self._generator(p.side)
        look = torch.zeros(1, p.channels, p.side, p.side, device="meta")
        with META:
            critic = Discriminator(p.ndf, p.field, p.channels)
        judge = cost(critic, look)["flops"]
        work = p.images * (GENERATOR_PASSES * forward + DISCRIMINATOR_PASSES * judge)
        size = f"{p.side} {p.ngf} {p.blocks} {p.ndf} {p.field} {p.channels} {p.batch}"
        live = p.batch / self.ranks * 6 * forward
        return Load("gan-train", "gan-train", "FLOP", work, size, 2 * 4 * parameters, live)

    def gan_generate(self, _: str) -> Load:
        return self._generate("gan-generate", "gan-generate")

    def control_corpus(self, key: str) -> Load:
        kind, name = self.params["corpora"][key]["kind"], f"control-corpus@{key}"
        if kind == "untrained":
            return self._generate(name, "gan-generate")
        side = self._photo_side()
        pixels = self.counts.all_photos * side**2
        return Load(name, f"control-corpus {kind}", "pixels", pixels, str(side), 0 if kind == "permuted" else pixels)

    def gan_audit(self, _: str) -> Load:
        section = self.params["gan_audit"]
        photos = min(section["photos"], self.counts.held_out) + section["probe"]["train_photos"]
        return Load("gan-audit", "gan-audit", "photos", photos, str(self._photo_side()), 0)

    def corpus_pretrain(self, key: str) -> Load:
        return self._pretrain(f"corpus-pretrain@{key}")

    def gan_pretrain(self, _: str) -> Load:
        return self._pretrain("gan-pretrain")

    def cnn_finetune(self, key: str) -> Load:
        cnn, section = self.cnns[key], self.params["cnn_finetune"]
        return self._train_cnn(f"cnn-finetune@{key}", cnn.architecture, cnn.side, LABELS, section, self.val)

    def cnn_batchnorm(self, key: str) -> Load:
        cnn, split = self.cnns[key], self.params["split_ct"]
        parameters, flops, _ = network_cost(cnn.architecture, LABELS, cnn.side)
        slices = (self.counts.slices - self.val - self.test) * split["cnn_share"]
        size = f"{cnn.architecture} {cnn.side}"
        return Load(f"cnn-batchnorm@{key}", "extract-features", "FLOP", flops * slices, size, 4 * parameters)

    def extract_features(self, key: str) -> Load:
        cnn, section = self.cnns[key], self.params["extract_features"]
        parameters, flops, shape = network_cost(cnn.architecture, LABELS, cnn.side, cnn.stage)
        if cnn.trained_on == "ct":  # its logits are kept too, so it runs to its end
            flops = network_cost(cnn.architecture, LABELS, cnn.side)[1]
        slices = self.counts.slices if section["cache"] else 0
        made, size = 2 * slices * math.prod(shape) + 4 * parameters, f"{cnn.architecture} {cnn.side}"
        live = section["batch"] * flops
        return Load(f"extract-features@{key}", "extract-features", "FLOP", flops * slices, size, made, live)

    def vit_train(self, key: str) -> Load:
        parameters, flops, size = self.head(key)
        section = self.params["vit_train"]
        passes = _passes(section, self.val) if flops else 0
        live = flops * section["batch"] / self.ranks
        return Load(f"vit-train@{key}", "vit-train", "FLOP", flops * passes, size, 4 * parameters, live)

    def evaluate(self, key: str) -> Load:
        size = str(self.params["evaluate"]["intervals"]["replicates"])
        return Load(f"evaluate@{key}", "evaluate", "slices", self.val + self.test, size, 0)

    def floors(self, _: str) -> Load:
        side = self.params["prepare_ct"]["hu_side"]
        return Load("floors", "floors", "pixels", self.counts.slices * side**2, str(side), 0)

    def report(self, _: str) -> Load:
        return Load("report", "report", "runs", 1, "", 0)

    def _photo_side(self) -> int:
        return int(self.params["gan_generate"]["side"] or self.params["prepare_photos"]["side"])

    def _generator(self, side: int) -> tuple[int, int]:
        """Parameters, and FLOPs of a pass for one image."""
        p = read_section(GanTrain, self.params["gan_train"], "gan_train")
        with META:
            network = Generator(p.ngf, p.blocks, p.channels, p.upsampling)
        found = cost(network, torch.zeros(1, p.channels, side, side, device="meta"))
        return found["parameters"], found["flops"]

    def _generate(self, stage: str, rate: str) -> Load:
        side, p = self._photo_side(), self.params["gan_train"]
        forward = self._generator(side)[1]
        made = self.counts.all_photos * side**2 * p["channels"]
        size = f"{side} {p['ngf']} {p['blocks']} {p['channels']}"
        live = self.params["gan_generate"]["batch"] * forward
        return Load(stage, rate, "FLOP", forward * self.counts.all_photos, size, made, live)

    def _pretrain(self, stage: str) -> Load:
        section = self.params["corpus_pretrain"]
        drawn = self.params["prepare_photos"]
        classes = drawn["drawn"]["classes"] if drawn["source"] == "drawn" else 1000
        held_out = self.counts.held_out
        return self._train_cnn(stage, section["architecture"], section["side"], classes, section, held_out)

    def _train_cnn(
        self, stage: str, architecture: str, side: int, outputs: int, section: dict[str, Any], validated: int
    ) -> Load:
        parameters, flops, _ = network_cost(architecture, outputs, side)
        live = flops * section["batch"] / section["optimise"]["accumulate"] / self.ranks
        work, size = flops * _passes(section, validated), f"{architecture} {side}"
        return Load(stage, "train CNN", "FLOP", work, size, 4 * parameters, live)

    def head(self, key: str) -> tuple[int, int, str]:
        """Parameters of a head, FLOPs of a pass for one slice (0: nothing is trained), and what it is built of."""
        variant, vit = self.variants[key], read_section(Vit, self.params["vit"], "vit")
        if variant.encoder == "mean-logits":
            return 0, 0, ""
        if variant.cnns:
            cnns = [self.cnns[name] for name in variant.cnns]
            shapes = [network_cost(c.architecture, LABELS, c.side, c.stage)[2] for c in cnns]
            sources = [{"channels": c, "grid": (h, w), "cnn": ""} for c, h, w in shapes]
        else:
            side = variant.side or 0
            sources = [{"channels": 3, "grid": (side, side), "cnn": ""}]
        named = [{**source, "cnn": name} for source, name in zip(sources, variant.cnns or [""], strict=True)]
        with META:
            head = build_head(named, variant.shape, vit, LABELS)
        found = head_cost(head, sources, variant.shape)
        return found["parameters"], found["flops"], f"{variant.shape} {sources} {vit}"


def _passes(section: dict[str, Any], validated: int) -> int:
    """Forward passes that a training is worth: three for an image it learns from, one for one it is validated on."""
    return 3 * int(section["images"]) + -(-int(section["images"]) // int(section["evaluate_every"])) * validated
