"""What every stage shares: declared inputs only, a fingerprint, provenance, outs that appear whole or not at all.

A stage runs in three steps. `prepare` hashes what it declares and opens its work folder; `work` hands it a `Job`;
`finish` hashes again and renames what was made into place. Under several ranks the first and last are done once.
"""

import hashlib
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from corpus.card import read_card, write_card
from corpus.shards import link
from settings.errors import BadArtifact, BadInput, BadParameter, Skipped, TrainingFailed
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.memory import largest_peak
from settings.places import ROOT, Local, Raw, load_local, raw_root, work_root

P = TypeVar("P", bound=BaseModel)
MANIFESTS = tuple(f"data/{kind}.csv" for kind in ("ct", "labels", "photos"))
# They decide what runs, not what a stage computes.
EXEMPT = ("pipeline.py", "commands/", "stages/graph.py", "stages/nodes.py")
LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "kornia",
    "accelerate",
    "numpy",
    "pydicom",
    "pyarrow",
    "scikit-learn",
    "dvc",
)


@dataclass(frozen=True)
class Prepared:
    """A stage whose inputs were hashed: all that a rank needs to do the work, and `finish` to record it."""

    name: str
    module: str
    parameters: dict[str, Any]  # the declared keys only
    code: dict[str, str]  # module → SHA-256
    inputs: dict[str, str]  # path → SHA-256
    outs: list[str]
    fingerprint: str

    @property
    def folder(self) -> Path:
        """`work/<stage>/<fingerprint>/`."""
        return work_root() / self.name / self.fingerprint


@dataclass(frozen=True)
class Job:
    """What a stage file is given: its parameters, its inputs, places to write, this machine."""

    name: str  # "cnn-finetune@imagenet-a"
    parameters: dict[str, Any]  # the declared keys of params.yaml, nested as there
    work: Path  # survives a kill; the same parameters, code and inputs have the same folder
    local: Local
    inputs: frozenset[str]
    outs: frozenset[str]

    @property
    def key(self) -> str:
        """What stands behind the `@`; empty for a stage that is no item of a group."""
        return self.name.partition("@")[2]

    def section(self, model: type[P], name: str) -> P:
        """A declared section (dotted for a table's entry), validated."""
        data: Any = self.parameters
        for part in name.split("."):
            if part not in data:
                raise BadParameter(f"{self.name}: reads the undeclared parameter {name}; declare it in stages/nodes.py")
            data = data[part]
        return read_section(model, data, name)

    def input(self, path: str) -> Path:
        """A declared input that exists."""
        if path not in self.inputs:
            raise BadArtifact(f"{self.name}: reads {path}, which it does not declare; declare it in stages/nodes.py")
        return ROOT / path

    def out(self, path: str) -> Path:
        """Where to write a declared out: an empty folder, or the path of a file if it has a suffix."""
        if path not in self.outs:
            raise BadArtifact(f"{self.name}: writes {path}, which it does not declare; declare it in stages/nodes.py")
        return _beside(path)

    def raw(self, what: Raw) -> Path:
        """The user's raw root of one kind."""
        return raw_root(self.local, what)

    def weights(self, weights: Any) -> Path:
        """A weights file below `raw.weights` (`weights.file`), its SHA-256 checked; BadInput otherwise."""
        path = self.raw("weights") / str(weights.file)
        if not path.is_file():
            raise BadInput(f"weights file {weights.file} is not below raw.weights; put it there or mend params.yaml")
        digest = _sha256(path)
        if digest != weights.sha256:
            raise BadInput(
                f"weights file {weights.file}: SHA-256 is {digest[:16]}…, params.yaml says {weights.sha256[:16]}…"
            )
        return path


def prepare(
    name: str,
    module: str,
    deps: list[str],
    code: list[str],
    params: list[str],
    outs: list[str],
    clear: bool = True,
) -> Prepared:
    """Hash what the stage declares, open its work folder and, with `clear`, clear the places of its outs."""
    for path in deps:
        if not (ROOT / path).exists():
            raise BadArtifact(f"{name}: {path} is missing; {_remedy(path, name)}")
    parameters = _declared(params)
    hashes = _Hashes(work_root() / name / "hashes.json")
    codes = {path: hashes.of(path) for path in code}
    inputs = {path: hashes.of(path) for path in sorted(set(deps))}
    hashes.write()
    identity = {"stage": name, "parameters": parameters, "code": codes, "inputs": inputs}
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    prepared = Prepared(name, module, parameters, codes, inputs, outs, fingerprint)
    others = [p.name for p in (work_root() / name).glob("*/") if p.name != fingerprint and any(p.glob("state-*"))]
    if others and not prepared.folder.exists():
        print(
            f"{name}: starting anew; state of other parameters, code or inputs is kept: {', '.join(sorted(others))} "
            "(--adopt FINGERPRINT goes on from it)"
        )
    prepared.folder.mkdir(parents=True, exist_ok=True)
    (prepared.folder / "identity.json").write_text(json.dumps(identity, indent=1, sort_keys=True))
    for out in outs if clear else []:
        place = _beside(out)
        _remove(place)
        (place.parent if Path(out).suffix else place).mkdir(parents=True, exist_ok=True)
    return prepared


def adopt(prepared: Prepared, fingerprint: str) -> None:
    """Go on from the state of another fingerprint: print what differs, record it, copy the state (link its shards)."""
    old = work_root() / prepared.name / fingerprint
    if not (old / "identity.json").is_file():
        raise BadParameter(f"--adopt: there is no state {fingerprint} under {old.parent}")
    if old.samefile(prepared.folder):  # each file would be removed, then copied from where it was
        raise BadParameter(f"--adopt: {prepared.fingerprint} is the present state; leave --adopt out")
    before = json.loads((old / "identity.json").read_text())
    after = json.loads((prepared.folder / "identity.json").read_text())
    differences = [
        f"{part}: {key}: {before[part].get(key)} → {after[part].get(key)}"
        for part in ("parameters", "code", "inputs")
        for key in sorted({*before[part], *after[part]})
        if before[part].get(key) != after[part].get(key)
    ]
    print(f"{prepared.name}: adopting {fingerprint}, which differs in", *differences, sep="\n  ")
    shutil.copytree(old, prepared.folder, copy_function=_link_or_copy, dirs_exist_ok=True)
    (prepared.folder / "identity.json").write_text(json.dumps(after, indent=1, sort_keys=True))
    (prepared.folder / "adopted.json").write_text(json.dumps({"from": fingerprint, "differences": differences}))


def work(prepared: Prepared) -> None:
    """Run the stage file. Executed by every rank."""
    began = time.monotonic()
    job = Job(
        prepared.name,
        prepared.parameters,
        prepared.folder,
        load_local(),
        frozenset(prepared.inputs),
        frozenset(prepared.outs),
    )
    try:
        _stop_below_skipped(job)
        importlib.import_module(prepared.module.removesuffix(".py").replace("/", ".")).run(job)
    except Skipped as reason:
        if os.environ.get("RANK", "0") == "0":
            print(f"{prepared.name}: skipped: {reason}")
            for out in prepared.outs:
                write_card(_beside(out), "skipped", reason=str(reason))
    if os.environ.get("RANK", "0") == "0":
        (prepared.folder / "seconds.json").write_text(json.dumps(round(time.monotonic() - began, 1)))
        (prepared.folder / "memory_mb.json").write_text(json.dumps(round(largest_peak() / 1e6)))
    undeclared = sorted(_loaded() - prepared.code.keys())
    if undeclared:
        raise BadArtifact(f"{prepared.name}: uses {', '.join(undeclared)}, not among its deps; run `pipeline.py graph`")


def skipped(folder: Path) -> str:
    """Why the stage of this artifact gave nothing; empty where it gave something."""
    if not (folder / "card.json").is_file():
        return ""
    card = read_card(folder)
    return str(card["reason"]) if card["kind"] == "skipped" else ""


def _stop_below_skipped(job: Job) -> None:
    """Skipped when an input of this item of a group is; `report`, which is no item, tells of it instead."""
    for path in sorted(job.inputs) if job.key else []:
        if reason := skipped(ROOT / path):
            raise Skipped(reason)


def finish(prepared: Prepared, params: list[str]) -> None:
    """Check that nothing changed meanwhile, write the provenance, rename the outs into place.

    `seconds` in it are those of this call: a training that was resumed took longer. `memory_mb` is the largest resident
    set, pages of files included, of this process (rank 0), of one that it started or of a pool's worker.
    """
    for out in prepared.outs:
        made = _beside(out)
        if not made.exists() or (made.is_dir() and not any(made.iterdir())):
            raise TrainingFailed(f"{prepared.name}: ended without writing {out}; this is a defect of the stage")
    _check_unchanged(prepared, params)
    record: dict[str, Any] = {
        "stage": prepared.name,
        "fingerprint": prepared.fingerprint,
        "parameters": prepared.parameters,
        "inputs": prepared.inputs,
        "code": prepared.code,
        "versions": {"python": ".".join(map(str, sys.version_info[:3])), **{name: version(name) for name in LIBRARIES}},
        "revision": _revision(),
        "processor": processor_name(),
    }
    for name in ("computing", "adopted", "seconds", "memory_mb"):
        if (note := prepared.folder / f"{name}.json").exists():
            record[name] = json.loads(note.read_text())
    provenance = ROOT / "artifacts/provenance" / f"{prepared.name}.json"
    provenance.parent.mkdir(parents=True, exist_ok=True)
    for out in prepared.outs:
        _remove(ROOT / out)
        _beside(out).rename(ROOT / out)
    _remove(provenance)  # it may be a hard link into DVC's cache: never written into
    provenance.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    try:
        _check_unchanged(prepared, params)
    except TrainingFailed:
        for path in (*(ROOT / out for out in prepared.outs), provenance):
            _remove(path)
        raise


def to_json(prepared: Prepared) -> str:
    """For handing a prepared stage to its ranks."""
    return json.dumps(asdict(prepared))


def from_json(text: str) -> Prepared:
    """The inverse of `to_json`."""
    return Prepared(**json.loads(text))


class _Hashes:
    """SHA-256 of files and folders, remembered by size, time and inode: a 100 GB corpus is read once, not thrice."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        self.known: dict[str, list[Any]] = {}
        if memory.exists():
            try:
                self.known = json.loads(memory.read_text())
            except json.JSONDecodeError:
                self.known = {}  # killed while writing; it is only a memory
        self.used: dict[str, list[Any]] = {}

    def of(self, path: str) -> str:
        place = ROOT / path
        if place.is_file():
            return self._file(path)
        digest = hashlib.sha256()
        for file in sorted(p for p in place.rglob("*") if p.is_file()):
            name = file.relative_to(ROOT).as_posix()
            digest.update(f"{name}\0{self._file(name)}\n".encode())
        return digest.hexdigest()

    def _file(self, name: str) -> str:
        status = (ROOT / name).stat()
        mark = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self.known.get(name)
        self.used[name] = known if known and known[:3] == mark else [*mark, _sha256(ROOT / name)]
        return str(self.used[name][3])

    def write(self) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        part = self.memory.with_suffix(f".{platform.node()}-{os.getpid()}.part")  # of several that share a stage
        part.write_text(json.dumps({**self.known, **self.used}))
        part.replace(self.memory)


def _check_unchanged(prepared: Prepared, params: list[str]) -> None:
    hashes = _Hashes(work_root() / prepared.name / "hashes.json")
    changed = [path for path, old in {**prepared.code, **prepared.inputs}.items() if hashes.of(path) != old]
    if _declared(params) != prepared.parameters:
        changed.append("params.yaml")
    if changed:
        raise TrainingFailed(
            f"{prepared.name}: {', '.join(changed)} changed while it ran; nothing was recorded: run it again"
        )


def _declared(keys: list[str]) -> dict[str, Any]:
    params = load_yaml(ROOT / "params.yaml")
    chosen: dict[str, Any] = {}
    for key in keys:
        source, target = params, chosen
        *parents, last = key.split(".")
        for part in parents:
            source, target = source[part], target.setdefault(part, {})
        target[last] = source[last]
    return chosen


def _loaded() -> set[str]:
    """Repository modules that this process has imported, as paths; `__init__.py` files are empty and do not count."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(ROOT):
            path = Path(file).relative_to(ROOT).as_posix()
            if path.count("/") == 1 and path.endswith(".py") and not path.endswith("__init__.py"):
                found.add(path)
    return {path for path in found if not path.startswith((*EXEMPT, "."))}


def _revision() -> str:
    """The commit of this checkout, with `-dirty` where files were edited since; empty outside of a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:  # no git on this machine: the code's own hashes say what ran
        return ""


def _link_or_copy(source: str, place: str) -> None:
    """Shards, which are renamed into place and never written into, get a second name: a corpus of them is 100 GB.

    What has that name is replaced, not written into: it may be a hard link into DVC's cache.
    """
    Path(place).unlink(missing_ok=True)
    if source.endswith(".npy"):
        link(Path(source), Path(place))
    else:
        shutil.copy2(source, place)


def _beside(out: str) -> Path:
    path = ROOT / out
    return path.with_name(f".{path.name}.part")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remedy(path: str, name: str) -> str:
    if path.startswith("artifacts/"):
        return f"`dvc repro {name}`"
    if path in MANIFESTS:
        return f"`python pipeline.py manifest` and `dvc add {path}`"
    return "put it there, or mend what names it in params.yaml"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
