"""A team of two: artifacts by way of an S3 server on loopback, commits and experiments by way of a bare git remote."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np
import pyarrow.parquet as pq
import pytest
from dvc.repo import Repo
from moto.server import ThreadedMotoServer

from ct.labels import LABELS
from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import declarations
from tests.commands.untouched import untouched
from tests.ct.files import SIDE, write_dicom
from tests.pipeline.checkouts import call, change_params, copy_checkout, dvc, pipeline

MADE = ("artifacts/ct/hu-64", "artifacts/ct/images-32")
# What headers, names of files and the labels' CSV say of a patient.
IDENTIFIERS = ("Doe^Zacharias", "MRN-90210", "ACC-77231", "19310704", "12 Ash Lane", "1.2.826.4242")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Team(NamedTuple):
    alice: Path  # has the raw data
    bob: Path  # has what is shared
    hub: Path  # the bare git remote
    store: str  # URL of the S3 server


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "NO_PROXY": host}.items():
            patch.setenv(name, value)
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, store: str) -> Team:
    """Alice prepared and split slices and pushed; Bob cloned and pulled. No stage of theirs needs torch."""
    place = tmp_path_factory.mktemp("sharing")
    bucket(store).create()
    raw_data(place)
    demo = load_yaml(ROOT / "profiles/demo.yaml")
    alice, bob, hub = place / "alice", place / "bob", place / "hub.git"
    copy_checkout(
        alice,
        {
            "prepare_ct.source": "folder",
            "prepare_ct.sides": [32],
            "prepare_ct.hu_side": 64,
            "evaluate.intervals.replicates": 100,
            "cnns": {"gan": {**demo["cnns"]["gan"], "side": 32}},
            "corpora": {},
            "variants": {"vit": {**demo["variants"]["vit"], "side": 32}},
            "report.reference": "prevalences",
        },
    )
    (alice / "local.yaml").write_text(f"raw: {{ct: {place}/raw, labels: {place}/labels.csv}}\n")
    pipeline(alice, "manifest")
    with Repo(str(alice)) as repo:
        with repo.config.edit("repo") as config:  # dvc remote add --default, dvc remote modify
            config["remote"]["team"] = {"url": "s3://team/artifacts", "endpointurl": store}
            config["core"]["remote"] = "team"
        repo.add([str(alice / "data/ct.csv"), str(alice / "data/labels.csv")])
    dvc(alice, "repro", "split-ct", SCOPEFORMER_WORKERS="1")
    commit(alice, "prepared")
    call(["git", "init", "-q", "--bare", str(hub)], place)
    call(["git", "remote", "add", "origin", str(hub)], alice)
    call(["git", "push", "-q", "origin", "HEAD:main"], alice)
    with Repo(str(alice)) as repo:
        repo.push(run_cache=True)
    call(["git", "clone", "-q", "-b", "main", str(hub), str(bob)], place)
    for key in ("name", "email"):
        call(["git", "config", f"user.{key}", "bob@example.org"], bob)
    with Repo(str(bob)) as repo:
        repo.pull(run_cache=True, allow_missing=True)  # missing: what nobody has run
    return Team(alice, bob, hub, store)


def bucket(store: str) -> Any:
    return boto3.resource("s3", endpoint_url=store).Bucket("team")


def raw_data(place: Path) -> None:
    """Twelve patients with a series of two slices each, and their labels, all full of identifiers."""
    random = np.random.default_rng(0)
    lines = ["ID,Label"]
    for patient in range(12):
        for number in range(2):
            uid = f"{IDENTIFIERS[5]}.{patient}.{number}"
            write_dicom(
                place / f"raw/{IDENTIFIERS[0]}-{patient}/{number}.dcm",
                random.integers(900, 1200, (SIDE, SIDE)).astype(np.uint16),
                SOPInstanceUID=uid,
                SeriesInstanceUID=f"{IDENTIFIERS[5]}.{patient}",
                StudyInstanceUID=f"{IDENTIFIERS[5]}.9{patient}",
                ImagePositionPatient=["0", "0", str(5 * number)],
                PatientName=IDENTIFIERS[0],
                PatientID=f"{IDENTIFIERS[1]}-{patient}",
                AccessionNumber=IDENTIFIERS[2],
                PatientBirthDate=IDENTIFIERS[3],
                PatientAddress=IDENTIFIERS[4],
            )
            lines += [f"{uid}_{label},{int(patient % 2 == 0)}" for label in LABELS]
    (place / "labels.csv").write_text("\n".join(lines) + "\n")


def commit(checkout: Path, message: str) -> None:
    call(["git", "add", "-A"], checkout)
    call(["git", "commit", "-qm", message], checkout)


def artifacts(checkout: Path) -> dict[str, bytes]:
    root = checkout / "artifacts"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_whole(checkout: Path) -> None:
    """Every object of the cache is still what its name says, so nothing was written through a link."""
    objects = list((checkout / ".dvc/cache/files/md5").glob("*/*"))
    assert objects
    for path in objects:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert digest == f"{path.parent.name}{path.stem}", path


def test_a_colleague_has_all_artifacts_and_nothing_to_do_without_raw_data(team: Team) -> None:
    shared = artifacts(team.bob)
    assert shared == artifacts(team.alice) and len(shared) > 25
    assert not (team.bob / "local.yaml").exists() and not (team.bob / "work").exists()
    done = dvc(team.bob, "repro", "split-ct").stdout
    assert done.count("didn't change, skipping") == 4 and "Running" not in done  # two manifests, two stages
    assert artifacts(team.bob) == shared


def test_no_identifier_is_in_what_was_shared(team: Team, tmp_path: Path) -> None:
    """Every object of the S3 store, parquet unpacked, and every object of the git remote."""
    texts = {}
    for summary in bucket(team.store).objects.all():
        content = summary.get()["Body"].read()
        if content.startswith(b"PAR1"):
            (tmp_path / "table.parquet").write_bytes(content)
            content += str(pq.read_table(tmp_path / "table.parquet").to_pydict()).encode()
        texts[summary.key] = content
    assert sum(key.startswith("artifacts/runs/") for key in texts) == 2 and len(texts) > 30
    pushed = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=team.hub, check=True, capture_output=True
    ).stdout
    # Tests come along with the code: what stands in this file is no leak.
    texts["git"] = pushed.replace(Path(__file__).read_bytes(), b"")
    for key, content in texts.items():
        found = [name for name in (*IDENTIFIERS, str(team.alice.parent)) if name.encode() in content]
        assert not found, (key, found)


def test_nothing_outside_artifacts_is_an_out_of_any_profile() -> None:
    """So that `work/`, which has names, and the raw data cannot be pushed."""
    for profile in (ROOT / "profiles").glob("*.yaml"):
        for stage in declarations(load_yaml(profile)).values():
            assert all(out.startswith("artifacts/") for out in stage.outs), stage.name


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_an_artifact_and_its_cache_entry_are_one_file(team: Team, who: str) -> None:
    """After `dvc repro`, and after `dvc pull`; so are the shards that prepare-ct keeps in `work/`."""
    checkout: Path = getattr(team, who)
    cached = {path.stat().st_ino for path in (checkout / ".dvc/cache/files/md5").glob("*/*")}
    large = [path for path in (checkout / "artifacts").rglob("*") if path.suffix in (".npy", ".png", ".json")]
    assert len(large) > 15
    for path in large:
        assert path.stat().st_ino in cached and path.stat().st_mode & 0o777 == 0o444, path
    kept = list((checkout / "work").glob("prepare-ct/*/*/images-*.npy"))
    assert bool(kept) == (who == "alice")
    assert {path.stat().st_ino for path in kept} <= cached


def test_a_colleague_can_look_and_looking_writes_into_no_artifact(team: Team) -> None:
    index = pq.read_table(team.bob / MADE[0] / "index.parquet")
    tables = sorted(f"artifacts/split/{path.name}" for path in (team.bob / "artifacts/split").glob("*.parquet"))
    orders = [*(["inspect", path] for path in (MADE[0], *tables)), ["show", index["id"][0].as_py()], ["clean"]]
    code = f"from pipeline import main\nfor order in {orders!r}: main(order, standalone_mode=False)"
    with untouched(*(team.bob / name for name in ("artifacts", "data", ".dvc/cache"))):
        told = call([sys.executable, "-c", code], team.bob).stdout
    assert told.count("made by prepare-ct") == 1 and told.count("made by split-ct") == 7
    assert "24 images" in told and "contact sheet:" in told and "provenance: none" not in told


def test_an_experiment_meets_a_colleagues_work(team: Team) -> None:
    """Alice tries another fold; Bob, meanwhile, another parameter of a stage below it. Both change floors' record."""
    alice, bob = team.alice, team.bob
    dvc(alice, "exp", "run", "-q", "-n", "other-fold", "-S", "split_ct.fold=1", "floors")
    with Repo(str(alice)) as repo:
        repo.experiments.push("origin", ["other-fold"], push_cache=True, run_cache=True)
    theirs = json.loads((alice / "artifacts/provenance/split-ct.json").read_text())

    change_params(bob, {"floors.position_bins": 4})
    dvc(bob, "repro", "-q", "floors")
    commit(bob, "fewer bins")
    with Repo(str(bob)) as repo:
        repo.experiments.pull("origin", ["other-fold"])  # git's part; its artifacts are fetched as they are needed
        repo.experiments.branch("other-fold", "fold")
    merged = call(["git", "merge", "-q", "fold"], bob, check=False)
    assert merged.returncode == 1
    conflicts = call(["git", "diff", "--name-only", "--diff-filter=U"], bob).stdout.split()
    assert conflicts == ["dvc.lock"]

    # As CONTRIBUTING says: a side whole, the records of runs, what they made.
    call(["git", "checkout", "--ours", "dvc.lock"], bob)
    with Repo(str(bob)) as repo:
        repo.pull(run_cache=True, allow_missing=True)
    told = call([sys.executable, "-m", "dvc", "repro", "--pull", "floors"], bob, True, **KEYS).stdout
    assert "Stage 'split-ct' is cached - skipping run" in told and "Running stage 'floors'" in told
    assert json.loads((bob / "artifacts/provenance/split-ct.json").read_text()) == theirs
    declared = json.loads((bob / "artifacts/provenance/floors.json").read_text())
    assert declared["parameters"]["floors"]["position_bins"] == 4
    commit(bob, "both")
    with Repo(str(bob)) as repo:
        assert not {"split-ct", "floors"} & {name.rpartition(":")[2] for name in repo.status()}
    for checkout in (alice, bob):
        assert_whole(checkout)
