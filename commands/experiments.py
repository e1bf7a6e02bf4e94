"""DVC experiments of one parameter set, over seeds and folds: their names, which are there, running one, reading one.

They run one after another in folders of DVC's own (`dvc exp run --temp`), so that neither the workspace nor its
artifacts change. What an experiment shares with those before it is taken from DVC's run cache; a training that was
interrupted goes on from its state in `work/`, which is that of the checkout.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from commands.rank import end_with_parent
from settings.errors import BadArtifact, BadParameter, TrainingFailed
from stages.graph import Declaration

TEMPORARY = ".dvc/tmp/exps/standalone"  # where DVC puts the folders, and `run/` with what it knows of each


class Experiment(NamedTuple):
    """One run of the graph."""

    name: str
    seed: int
    fold: int
    settings: tuple[str, ...]  # KEY=VALUE of `dvc exp run -S`
    params: dict[str, Any]  # params.yaml with these


def plan(
    params: dict[str, Any], digest: str, seeds: Iterable[int], folds: Iterable[int], settings: Iterable[str]
) -> list[Experiment]:
    """Folds of the first seed first. `settings`: of all of them, in `params` already; `digest`: see `digest_of`."""
    number = params["split_ct"]["folds"]
    return [
        Experiment(
            f"seed-{seed}-fold-{fold}-of-{number}-{digest}",
            seed,
            fold,
            (*settings, f"seed={seed}", f"split_ct.folds={number}", f"split_ct.fold={fold}"),
            {**params, "seed": seed, "split_ct": {**params["split_ct"], "fold": fold}},
        )
        for seed in seeds
        for fold in folds
    ]


def digest_of(root: Path, params: Mapping[str, Any], declared: Mapping[str, Declaration]) -> str:
    """8 hex digits of all that decides an experiment's result besides seed and fold: parameters, code, manifests.

    So an experiment's name says whether it is of the present state. Library versions are in provenance alone.
    """
    split = {key: value for key, value in params["split_ct"].items() if key != "fold"}
    rest = {**params, "seed": None, "split_ct": split}
    files = {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in _files(declared)}
    return hashlib.sha256(json.dumps([rest, files], sort_keys=True).encode()).hexdigest()[:8]


def check_known_to_git(root: Path, declared: Mapping[str, Declaration]) -> None:
    """BadParameter for a file that the graph reads and git does not know: DVC's folders have only what git knows."""
    known = set(_git(root, "ls-files", "-z").split("\0"))
    missing = [path for path in _files(declared) if not {path, f"{path}.dvc"} & known]
    if missing:
        name = f"{missing[0]}.dvc" if missing[0].startswith("data/") else missing[0]
        raise BadParameter(
            f"{missing[0]}: git does not know it ({len(missing)} such files), so no experiment would have it; "
            f"`git add {name}`"
        )


def existing(root: Path) -> dict[str, str]:
    """Name → commit of every experiment of this repository, whatever commit it was started from."""
    lines = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    pairs = [line.split(" ", 1) for line in lines]
    return {ref.rpartition("/")[2]: commit for commit, ref in pairs if ref.count("/") == 4}


def check_same(root: Path, experiment: Experiment, commit: str) -> None:
    """BadArtifact unless the experiment of that name has these parameters."""
    if yaml.safe_load(_git(root, "show", f"{commit}:params.yaml")) != experiment.params:
        raise BadArtifact(
            f"experiment {experiment.name}: has other parameters than its name says; `dvc exp remove {experiment.name}`"
        )


def run(root: Path, experiment: Experiment) -> None:
    """Run the graph with the experiment's settings; TrainingFailed if that ends with an error.

    DVC ends with this process, and its stage with DVC: the same call then goes on from there.
    """
    _sweep(root)
    settings = [word for setting in experiment.settings for word in ("-S", setting)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", experiment.name, *settings]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages are `python …`
    child = subprocess.Popen(command, cwd=root, env={**os.environ, "PATH": path}, preexec_fn=end_with_parent)
    if status := child.wait():
        raise TrainingFailed(
            f"experiment {experiment.name}: dvc ended with status {status}; its error is above. Stages that were "
            "finished are kept: repeat the command to go on"
        )


class Outs:
    """What an experiment left, out of DVC's cache; the workspace is not touched."""

    def __init__(self, root: Path, experiment: Experiment, commit: str) -> None:
        from dvc.api import DVCFileSystem

        self.name, self.commit = experiment.name, commit
        self.files = DVCFileSystem(str(root), rev=commit)

    def read(self, path: str) -> bytes:
        """The content of one file of an out; BadArtifact where it is not there any more."""
        try:
            with self.files.open(path, "rb") as file:
                return bytes(file.read())
        except FileNotFoundError:
            raise BadArtifact(
                f"experiment {self.name}: {path} is not in DVC's cache (dvc gc?); `dvc exp remove {self.name}`, "
                "then repeat the command to make it again"
            ) from None


def _files(declared: Mapping[str, Declaration]) -> list[str]:
    """All files of the checkout that some stage reads: modules, templates, manifests."""
    read = {path for stage in declared.values() for path in (*stage.code, *stage.deps)}
    return sorted(path for path in read if not path.startswith("artifacts/"))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadParameter(f"git {words[0]}: {done.stderr.strip()}; experiments need a git repository with a commit")
    return done.stdout


def _sweep(root: Path) -> None:
    """Remove the folders that a killed run of our own left; `dvc exp show` would call them running for ever.

    Whoever calls holds the lock of `compare`, so that none of its experiments is under way; of others nothing is known.
    """
    for note in (root / TEMPORARY / "run").glob("*/*.run"):
        about = json.loads(note.read_text(encoding="utf-8"))
        folder = Path(about["root_dir"])
        ours = str(about["name"]).startswith("seed-") and folder.is_relative_to((root / TEMPORARY).resolve())
        if ours and folder.exists() and not _someone_in(folder):
            shutil.rmtree(folder)
            shutil.rmtree(note.parent)


def _someone_in(folder: Path) -> bool:
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(folder):
            return True
    return False
