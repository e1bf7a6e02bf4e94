import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from commands import compare
from commands.compare import check_folds, compare_arms, listing, reached, with_settings
from commands.experiments import digest_of, existing, plan
from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import Declaration, declarations
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import made_scores, table_of
from tests.pipeline.checkouts import call, dvc


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    return load_yaml(ROOT / "profiles/demo.yaml")


@pytest.fixture(scope="module")
def declared(params: dict[str, Any]) -> dict[str, Declaration]:
    return declarations(params)


def test_seed_and_fold_reach_a_stage_through_what_is_above_it(declared: dict[str, Declaration]) -> None:
    found = reached(declared)
    for name in ("phantom-ct", "prepare-ct", "prepare-photos"):
        assert found[name] == set()
    assert found["split-ct"] == found["floors"] == {"fold"}
    assert found["corpus-pretrain@photos"] == {"seed"}  # photos know no patients
    for name in ("gan-train", "gan-pretrain", "cnn-finetune@imagenet-a", "vit-train@vit", "evaluate@vit", "report"):
        assert found[name] == {"seed", "fold"}


def test_the_list_counts_a_stage_once_for_what_reaches_it(
    params: dict[str, Any], declared: dict[str, Declaration]
) -> None:
    experiments = plan(params, "0", [0, 1], [0, 1], [])
    count = {key: sum(by == set(key.split()) for by in reached(declared).values()) for key in ("", "fold", "seed")}
    every, first = len(declared), experiments[0].name
    lines = listing(experiments, {}, declared)
    found = [int(line.split("to run, ")[1].split()[0]) for line in lines[:4]]
    assert found == [
        every,
        every - count[""] - count["seed"],
        every - count[""] - count["fold"],
        every - count[""] - count["fold"] - count["seed"],
    ]
    assert lines[4].startswith(f"4 of 4 experiments to run, {sum(found)} stages at most")
    there = listing(experiments, {first: "commit"}, declared)
    assert there[0] == f"{first}: is there" and there[1] == lines[1]
    assert there[4].startswith(f"3 of 4 experiments to run, {sum(found) - every} stages at most")


def test_the_digest_changes_with_parameters_and_code_but_not_with_seed_and_fold(
    params: dict[str, Any], declared: dict[str, Declaration], tmp_path: Path
) -> None:
    for path in {path for stage in declared.values() for path in stage.code}:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    found = digest_of(tmp_path, params, declared)
    split = params["split_ct"]
    assert len(found) == 8
    assert digest_of(tmp_path, {**params, "seed": 5, "split_ct": {**split, "fold": 1}}, declared) == found
    assert digest_of(tmp_path, {**params, "split_ct": {**split, "folds": 5}}, declared) != found
    assert digest_of(tmp_path, {**params, "vit": {**params["vit"], "depth": 9}}, declared) != found
    (tmp_path / "vit/head.py").write_text("edited")
    assert digest_of(tmp_path, params, declared) != found


def test_settings_are_those_of_dvc(params: dict[str, Any]) -> None:
    path = ROOT / "profiles/demo.yaml"
    assert with_settings(path, []) == params
    found = with_settings(path, ["vit.depth=7", "gan_train.ct_zoom=[1.0,2.5]"])
    assert found["vit"]["depth"] == 7 and found["gan_train"]["ct_zoom"] == [1.0, 2.5]
    assert {**found, "vit": None, "gan_train": None} == {**params, "vit": None, "gan_train": None}
    for setting in ("seed=1", "split_ct.fold=2", "vit.depth"):
        with pytest.raises(BadParameter, match="compare sets these"):
            with_settings(path, [setting])
    with pytest.raises(BadParameter, match=r"-S vit\.depht=7"):
        with_settings(path, ["vit.depht=7"])


GRAPH = {
    "scores": {
        "cmd": "python make.py",
        "deps": ["make.py"],
        "params": ["seed", "split_ct"],
        "outs": ["artifacts/evaluation", "artifacts/floors"],
    }
}
MAKE = """
import os, shutil, yaml

seed = yaml.safe_load(open("params.yaml"))["seed"]
with open(os.environ["MADE"] + "/log", "a") as log:
    log.write(f"{seed}\\n")
shutil.copytree(f"{os.environ['MADE']}/{seed}", "artifacts", dirs_exist_ok=True)
"""


def test_two_seeds_are_run_compared_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real DVC experiments of one stage, which leaves made-up scores."""
    root, made, out = tmp_path / "repo", tmp_path / "made", tmp_path / "comparison"
    root.mkdir()
    params = load_yaml(ROOT / "profiles/arms-small.yaml")
    variants = ["vit", "original-linear", "restyled-linear", "translated-linear"]
    params["variants"] = {name: params["variants"][name] for name in variants}
    params["report"]["reference"] = "prevalences"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    truth = [write_scores(made / str(seed), variants, seed) for seed in (0, 2)]  # entries have own seeds 0 and 1
    (root / "make.py").write_text(MAKE)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": GRAPH}))
    (root / ".gitignore").write_text("/artifacts/\n")
    call(["git", "init", "-q"], root)
    for key in ("name", "email"):
        call(["git", "config", f"user.{key}", "test@example.org"], root)
    dvc(root, "init", "-q")
    call(["git", "add", "-A"], root)
    call(["git", "commit", "-qm", "start"], root)
    declared = Declaration("scores", "stages/x.py", [], ["make.py"], ["seed", "split_ct"], [], False, False)
    monkeypatch.setenv("MADE", str(made))
    monkeypatch.setattr(compare, "ROOT", root)
    monkeypatch.setattr("commands.stage.work_root", lambda: root / "work")
    monkeypatch.setattr(compare, "declarations", lambda _: {"scores": declared})
    monkeypatch.setattr(compare, "check_rendered", lambda _: None)  # it is of another graph
    settings = ["evaluate.intervals.replicates=100"]

    compare_arms(2, 1, settings, dry=True, out=out)
    assert "2 of 2 experiments to run, 2 stages at most" in capsys.readouterr().out and not out.exists()
    for said in ("2 of 2 experiments to run", "0 of 2 experiments to run"):
        compare_arms(2, 1, settings, dry=False, out=out)
        assert said in capsys.readouterr().out
        assert (made / "log").read_text() == "0\n2\n"
    assert not (root / "artifacts").exists() and not call(["git", "diff"], root).stdout
    content = json.loads((out / "comparison.json").read_text())
    assert {each["name"]: each["commit"] for each in content["experiments"]} == existing(root)
    assert (content["seeds"], content["left_out"], content["patients"]) == ([0, 2], {"vit": "too few"}, 60)
    rows = {row["variant"]: row for row in content["rows"] if row["metric"] == "auc_any"}
    assert set(rows) == {*variants, "prevalences"} - {"vit"}
    for variant in ("original-linear", "translated-linear"):
        aucs = [roc_auc_score(any_, logits[variant]) for any_, logits in truth]
        assert rows[variant]["estimate"]["value"] == pytest.approx(np.mean(aucs))


def write_scores(folder: Path, variants: list[str], seed: int) -> tuple[Any, dict[str, Any]]:
    """evaluation/ and floors/ of one experiment; returns, of `any`, the truth and each variant's logits."""
    base, logits = made_scores(0), {}
    for number, name in enumerate(variants):
        place = folder / "evaluation" / name
        place.mkdir(parents=True)
        if name == "vit":
            (place / "card.json").write_text(json.dumps({"kind": "skipped", "reason": "too few"}))
            continue
        noise = np.random.default_rng([seed, number]).normal(size=base.logits.shape).astype(np.float32)
        scores = replace(base, logits=(base.logits + noise).astype(np.float32))
        logits[name] = scores.logits[:, LABELS.index("any")]
        (place / "card.json").write_text(json.dumps({"kind": "evaluation"}))
        pq.write_table(table_of(("test", scores)), place / "scores.parquet")
    (folder / "floors").mkdir()
    (folder / "floors/card.json").write_text(json.dumps({"floors": ["prevalences"]}))
    flat = table_of(("test", replace(base, logits=np.zeros_like(base.logits))))
    pq.write_table(flat, folder / "floors/scores-prevalences.parquet")
    return base.truth[:, LABELS.index("any")], logits


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("patient,part\np0000,train\np0001,test\n", "fixes the test part"),
        ("patient,fold\np0000,0\np0001,1\n", "has the folds 0, 1;"),
        ("patient,fold\np0000,0\np0001,1\np0002,2\np0003,3\n", "has the folds 0, 1, 2, 3;"),
        (None, "is missing"),
    ],
)
def test_a_file_without_these_folds_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    if content:
        (tmp_path / "split.csv").write_text(content)
    with pytest.raises(BadParameter, match=words) as refused:
        check_folds(tmp_path, "split.csv", 3)
    assert "split.csv" in str(refused.value) and "\n" not in str(refused.value)
    check_folds(tmp_path, "split.csv", 1)


def test_a_file_with_these_folds_is_taken(tmp_path: Path) -> None:
    rows = [f"p{number:04d},{fold}" for number, fold in enumerate([0, 1, 2, "hold-out"])]
    (tmp_path / "split.csv").write_text("\n".join(["patient,fold", *rows, ""]))
    check_folds(tmp_path, "split.csv", 3)
    check_folds(tmp_path, None, 3)
