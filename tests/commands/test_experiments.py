"""Real DVC experiments of a graph of two trivial stages."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from commands.compare import gather
from commands.experiments import TEMPORARY, Experiment, Outs, check_known_to_git, check_same, existing, plan, run
from evaluation.compare import Run
from settings.errors import BadArtifact, BadParameter, TrainingFailed
from settings.places import ROOT
from stages.graph import Declaration
from tests.pipeline.checkouts import call, dvc

PARAMS: dict[str, Any] = {"seed": 7, "split_ct": {"fold": 0, "folds": 3}, "gain": 1}
MAKE = """
import json, os, sys, time
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq, yaml

what, params = sys.argv[1], yaml.safe_load(open("params.yaml"))
notes = Path(os.environ["NOTES"])
with (notes / "log").open("a") as log:
    log.write(f"{what} {params['seed']} {params['split_ct']['fold']}\\n")
if what == "shared":
    Path("artifacts").mkdir(exist_ok=True)
    Path("artifacts/shared").write_text("shared")
    sys.exit()
while (notes / "hold").exists():
    time.sleep(0.05)
for name in ("a", "b", "few"):
    folder = Path("artifacts/evaluation", name)
    folder.mkdir(parents=True)
    if name == "few":
        (folder / "card.json").write_text(json.dumps({"kind": "skipped", "reason": "variants.few: 2 patients"}))
        continue
    (folder / "card.json").write_text(json.dumps({"kind": "evaluation"}))
    table = pa.table({"id": [f"{name} {params['seed']} {params['split_ct']['fold']}"]})
    pq.write_table(table, folder / "scores.parquet")
floors = Path("artifacts/floors")
floors.mkdir()
(floors / "card.json").write_text(json.dumps({"floors": ["flat"]}))
pq.write_table(pa.table({"id": [f"flat {params['split_ct']['fold']}"]}), floors / "scores-flat.parquet")
"""
STAGES = {
    "shared": {"cmd": "python make.py shared", "deps": ["make.py"], "outs": ["artifacts/shared"]},
    "scores": {
        "cmd": "python make.py scores",
        "deps": ["make.py", "artifacts/shared"],
        "params": ["seed", "split_ct", "gain"],
        "outs": ["artifacts/evaluation", "artifacts/floors"],
    },
}
START = """
import sys
from pathlib import Path
from tests.commands.test_experiments import planned
from commands.experiments import run
run(Path(sys.argv[1]), planned()[2])
"""


def planned() -> list[Experiment]:
    return plan({**PARAMS, "gain": 2}, "0123abcd", [0, 2], [0, 1], ["gain=2"])


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTES", str(place))
        yield place


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, notes: Path) -> Path:
    """With the first two experiments run."""
    root = tmp_path_factory.mktemp("experiments") / "repo"
    root.mkdir()
    call(["git", "init", "-q"], root)
    for key, value in (("name", "test"), ("email", "test@example.org")):
        call(["git", "config", f"user.{key}", value], root)
    dvc(root, "init", "-q")
    (root / "make.py").write_text(MAKE)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (root / ".gitignore").write_text("/artifacts/\n")
    call(["git", "add", "-A"], root)
    call(["git", "commit", "-qm", "start"], root)
    (root / "make.py").write_text(MAKE + "# an edit that is not committed\n")
    for experiment in planned()[:2]:
        run(root, experiment)
    return root


def wait_for(what: Callable[[], bool]) -> None:
    patience = time.monotonic() + 200
    while not what():
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_names_say_seed_fold_and_state() -> None:
    found = planned()
    assert [e.name for e in found[:3]] == [
        "seed-0-fold-0-of-3-0123abcd", "seed-0-fold-1-of-3-0123abcd", "seed-2-fold-0-of-3-0123abcd",
    ]  # fmt: skip
    assert found[1].settings == ("gain=2", "seed=0", "split_ct.folds=3", "split_ct.fold=1")
    assert found[2].params == {"seed": 2, "split_ct": {"fold": 0, "folds": 3}, "gain": 2}


def test_experiments_leave_the_workspace_alone_and_share_what_they_can(repo: Path, notes: Path) -> None:
    assert call(["git", "status", "--porcelain"], repo).stdout == " M make.py\n"
    assert not (repo / "artifacts").exists() and yaml.safe_load((repo / "params.yaml").read_text()) == PARAMS
    assert (notes / "log").read_text().splitlines()[:3] == ["shared 0 0", "scores 0 0", "scores 0 1"]
    names = {e.name for e in planned()[:2]}
    assert names == set(existing(repo))
    assert names <= set(dvc(repo, "exp", "list", "--name-only").stdout.split())
    call(["git", "commit", "-qam", "another commit"], repo)
    assert names == set(existing(repo))  # they belong to the commit before


def test_a_file_that_git_does_not_know_is_named(repo: Path) -> None:
    """DVC's folders have what git knows alone; of a manifest that is its .dvc file."""
    stage = Declaration("scores", "stages/x.py", ["artifacts/shared", "data/ct.csv"], ["make.py"], [], [], False, False)
    with pytest.raises(BadParameter, match=r"data/ct\.csv: git does not know it .*`git add data/ct\.csv\.dvc`"):
        check_known_to_git(repo, {"scores": stage})
    (repo / "data").mkdir()
    (repo / "data/ct.csv.dvc").write_text("outs: []\n")
    call(["git", "add", "data"], repo)
    check_known_to_git(repo, {"scores": stage})
    with pytest.raises(BadParameter, match=r"`git add new\.py`"):
        check_known_to_git(repo, {"scores": replace(stage, code=["make.py", "new.py"])})
    call(["git", "rm", "-qrf", "data"], repo)


def test_what_experiments_left_is_gathered_by_variant_seed_and_fold(repo: Path) -> None:
    experiments, there = planned()[:2], existing(repo)
    tables, floors, left_out = gather(repo, experiments, there, ["a", "b", "few"])
    assert left_out == {"few": "variants.few: 2 patients"} and floors == ["flat"]
    assert {run: table["id"].to_pylist() for run, table in tables.items()} == {
        **{Run(name, 0, fold): [f"{name} 0 {fold}"] for name in ("a", "b") for fold in (0, 1)},
        **{Run("flat", 0, fold): [f"flat {fold}"] for fold in (0, 1)},
    }
    with pytest.raises(BadArtifact, match=r"artifacts/lost is not in DVC's cache .*dvc exp remove seed-0-fold-0"):
        Outs(repo, experiments[0], there[experiments[0].name]).read("artifacts/lost")
    other = experiments[0]._replace(params={**experiments[0].params, "gain": 3})
    with pytest.raises(BadArtifact, match="other parameters than its name says"):
        check_same(repo, other, there[other.name])


def test_after_a_kill_the_same_call_goes_on(repo: Path, notes: Path) -> None:
    """`kill -9` of what runs the experiments ends DVC; the next run removes what that left and finishes."""
    (notes / "hold").touch()
    before = (notes / "log").read_text()
    runner = subprocess.Popen([sys.executable, "-c", START, str(repo)], cwd=ROOT)
    wait_for(lambda: (notes / "log").read_text() == f"{before}scores 2 0\n")
    below = psutil.Process(runner.pid).children(recursive=True)
    runner.kill()
    runner.wait()
    wait_for(lambda: not below[0].is_running() or below[0].status() == psutil.STATUS_ZOMBIE)
    left = list((repo / TEMPORARY).glob("tmp*"))
    assert len(left) == 1 and planned()[2].name not in existing(repo)
    (notes / "hold").unlink()
    psutil.wait_procs(below, timeout=200)
    run(repo, planned()[2])
    assert planned()[2].name in existing(repo) and not list((repo / TEMPORARY).glob("tmp*"))
    assert (notes / "log").read_text() == f"{before}scores 2 0\nscores 2 0\n"  # `shared` was not run again
    assert "Running" not in dvc(repo, "exp", "show", "--csv").stdout


def test_a_failure_names_the_experiment(repo: Path) -> None:
    unknown = planned()[3]._replace(settings=("unknown=1",))
    with pytest.raises(TrainingFailed, match=r"seed-2-fold-1-of-3-0123abcd: dvc ended with status 255"):
        run(repo, unknown)
    assert unknown.name not in existing(repo)
