"""What DVC itself calls stale after an edit, on a real DVC repository whose outs are stand-ins."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from stages.graph import declarations
from tests.pipeline.checkouts import change_params, copy_checkout, dvc, pipeline

SEEDED = ["gan-train", "gan-audit", "corpus-pretrain", "gan-pretrain", "cnn-finetune", "extract-features", "vit-train"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stage recorded as run, by `dvc commit` over outs that hold their own names."""
    place = copy_checkout(tmp_path_factory.mktemp("staleness") / "checkout", {})
    for name, stage in declarations(yaml.safe_load((place / "params.yaml").read_text())).items():
        for out in [*stage.outs, f"artifacts/provenance/{name}.json"]:
            path = place / out
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.write_text(out)
            else:
                path.mkdir()
                (path / "card.json").write_text(out)
                for file in ("metrics.json", "training.csv", "validation.csv"):
                    (path / file).write_text("{}" if file == "metrics.json" else "images\n")
    dvc(place, "commit", "-f", "-q")
    assert status(place) == set()
    return place


def status(checkout: Path) -> set[str]:
    with Repo(str(checkout)) as repo:
        return {name.rpartition("dvc.yaml:")[2] for name in repo.status()}  # named from this folder


def items(checkout: Path, *groups: str) -> set[str]:
    names = declarations(yaml.safe_load((checkout / "params.yaml").read_text()))
    return {name for name in names if name.partition("@")[0] in groups}


@pytest.mark.parametrize(
    ("key", "value", "stale"),
    [
        ("vit.depth", 5, ["vit-train"]),
        ("gan_train.batch", 2, ["gan-train"]),
        ("gan_generate.batch", 5, ["gan-generate", "control-corpus@untrained"]),
        ("corpus_pretrain.images", 7, ["corpus-pretrain", "gan-pretrain"]),
        ("cnn_finetune.images", 7, ["cnn-finetune"]),
        ("split_ct.fold", 1, ["split-ct"]),
        ("windows.brain", [35, 80], ["prepare-ct", "control-corpus@grey"]),
        ("seed", 9, [*SEEDED, *(f"control-corpus@{name}" for name in ("restyled", "permuted", "untrained"))]),
        ("cnns.gan.seed", 4, ["extract-features@gan", "report"]),
        ("variants.2-cnn.seed", 4, ["vit-train@2-cnn", "evaluate@2-cnn", "report"]),
    ],
)  # fmt: skip
def test_a_changed_parameter_makes_stale_what_reads_it(checkout: Path, key: str, value: Any, stale: list[str]) -> None:
    kept = (checkout / "params.yaml").read_text()
    change_params(checkout, {key: value})
    try:
        groups = [name for name in stale if "@" not in name]
        assert status(checkout) == items(checkout, *groups) | {name for name in stale if "@" in name}
    finally:
        (checkout / "params.yaml").write_text(kept)


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("vit/encoder.py", ["vit-train", "evaluate"]),
        ("ct/phantom.py", ["phantom-ct"]),
        ("photos/drawn.py", ["prepare-photos"]),
        ("evaluation/report.html.j2", ["report"]),
        ("stages/graph.py", []),
        ("commands/stage.py", []),
        ("pipeline.py", []),
    ],
)
def test_a_changed_module_makes_stale_what_imports_it(checkout: Path, module: str, stale: list[str]) -> None:
    kept = (checkout / module).read_text()
    (checkout / module).write_text(kept + "\n")
    try:
        assert status(checkout) == items(checkout, *stale)
    finally:
        (checkout / module).write_text(kept)


def test_adding_a_cnn_makes_stale_only_what_uses_it(checkout: Path) -> None:
    kept = {name: (checkout / name).read_text() for name in ("params.yaml", "dvc.yaml")}
    params = yaml.safe_load(kept["params.yaml"])
    params["cnns"]["imagenet-c"] = {**params["cnns"]["imagenet-a"], "seed": 2}
    params["variants"]["4-cnn"] = {
        **params["variants"]["3-cnn"],
        "cnns": [*params["variants"]["3-cnn"]["cnns"], "imagenet-c"],
        "paper": None,
    }
    (checkout / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    try:
        refused = pipeline(checkout, "stage", "vit-train@4-cnn", check=False)
        assert refused.returncode == 2 and "run `pipeline.py graph`" in refused.stderr
        pipeline(checkout, "graph")
        assert status(checkout) == {
            "cnn-finetune@imagenet-c",
            "extract-features@imagenet-c",
            "vit-train@4-cnn",
            "evaluate@4-cnn",
            "report",
        }
    finally:
        for name, text in kept.items():
            (checkout / name).write_text(text)


def test_the_plan_says_why_and_looks_below(checkout: Path) -> None:
    kept = (checkout / "params.yaml").read_text()
    assert "nothing to do" in pipeline(checkout, "plan").stdout
    change_params(checkout, {"gan_train.batch": 2})
    try:
        lines = dict(line.split(": ", 1) for line in pipeline(checkout, "plan").stdout.splitlines() if ": " in line)
        old = yaml.safe_load(kept)["gan_train"]["batch"]
        assert lines["gan-train"] == f"gan_train.batch: {old} → 2"
        assert lines["gan-generate"] == "below gan-train"
        assert lines["gan-pretrain"] == "below gan-generate"
        assert "extract-features@gan" in lines and "cnn-finetune@imagenet-a" not in lines
        assert "vit-train@imagenet-1" not in lines and "evaluate@2-cnn" in lines
    finally:
        (checkout / "params.yaml").write_text(kept)
    (checkout / "artifacts/audit/card.json").rename(checkout / "artifacts/audit/elsewhere")
    try:
        assert "gan-audit: modified out artifacts/audit" in pipeline(checkout, "plan").stdout
    finally:
        (checkout / "artifacts/audit/elsewhere").rename(checkout / "artifacts/audit/card.json")
