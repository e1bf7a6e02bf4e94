import modulefinder
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import ROOMS, closure, declarations, render, to_yaml
from stages.nodes import nodes, validate

STAGES = {
    "prepare-ct", "split-ct", "prepare-photos", "gan-train", "gan-generate", "control-corpus", "gan-audit",
    "gan-pretrain", "cnn-finetune", "extract-features", "vit-train", "evaluate", "floors", "report",
}  # fmt: skip
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def demo() -> dict[str, Any]:
    return load_yaml(ROOT / "profiles/demo.yaml")


def test_the_committed_graph_is_the_rendering_of_the_committed_parameters() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "profiles/demo.yaml").read_text()
    assert (ROOT / "dvc.yaml").read_text() == to_yaml(render(load_yaml(ROOT / "params.yaml")))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_valid_and_renders(profile: Path) -> None:
    params = load_yaml(profile)
    validate(params)
    rendered = yaml.safe_load(to_yaml(render(params)))
    names = {node.name for node in nodes(params)}
    assert rendered["stages"].keys() == names
    assert names >= STAGES


@pytest.mark.parametrize("module", sorted({node.module for node in nodes(demo())}))
def test_code_deps_are_the_import_closure(module: str) -> None:
    """Against the standard library's own finder, which reads bytecode, not the syntax tree."""
    finder = modulefinder.ModuleFinder(path=[str(ROOT)])
    finder.run_script(str(ROOT / module))
    files = [getattr(module, "__file__", None) for module in finder.modules.values()]
    found = {Path(file).relative_to(ROOT).as_posix() for file in files if file}
    found = {path for path in found if path.split("/")[0] in ROOMS and not path.endswith("__init__.py")}
    assert set(closure(module)) == found | {module}


def test_packages_have_no_code_of_their_own() -> None:
    """Closures leave `__init__.py` out, so nothing may live there."""
    assert all(not (ROOT / room / "__init__.py").read_text() for room in (*ROOMS, "commands"))


def test_light_stages_do_not_import_torch_rooms() -> None:
    for stage in (
        "stages/prepare_ct.py",
        "stages/split_ct.py",
        "stages/phantom_ct.py",
        "stages/prepare_photos.py",
        "stages/floors.py",
    ):
        assert not any(path.startswith(("training/", "gan/", "backbones/", "vit/")) for path in closure(stage)), stage


def test_the_translator_depends_on_no_label_and_no_test_patient() -> None:
    for name in ("gan-train", "gan-generate"):
        deps = declarations(demo())[name].deps
        assert not any("labels" in dep or "parts" in dep or dep.endswith(".csv") for dep in deps)


CONTROLS = {"grey", "restyled", "permuted", "untrained"}


def above(params: dict[str, Any], name: str) -> set[str]:
    """Every input that a stage hangs on, at any depth."""
    found = declarations(params)
    maker = {out: stage for stage, made in found.items() for out in made.outs}
    deps = set(found[name].deps)
    return deps.union(*(above(params, maker[dep]) for dep in deps if dep in maker))


def test_control_corpora_hang_on_no_label_and_on_what_they_are_made_of_alone() -> None:
    for profile in PROFILES:
        params = load_yaml(profile)
        wanted = {name for name, corpus in params["corpora"].items() if corpus["kind"] != "original"}
        assert {name for name in declarations(params) if name.startswith("control-corpus@")} == {
            f"control-corpus@{name}" for name in wanted
        }
        assert wanted == CONTROLS or profile.stem == "arms-small"
        for name in wanted:
            inputs = above(params, f"control-corpus@{name}")
            assert "artifacts/photos" in inputs and not any("labels-" in path or "parts" in path for path in inputs)
    hangs_on = {name: above(demo(), f"control-corpus@{name}") for name in CONTROLS}
    slices = f"artifacts/ct/hu-{demo()['prepare_ct']['hu_side']}"
    assert {name for name in CONTROLS if "artifacts/gan" in hangs_on[name]} == {"permuted", "untrained"}
    assert {name for name in CONTROLS if "artifacts/translated" in hangs_on[name]} == {"permuted"}
    assert slices not in hangs_on["grey"] and slices in hangs_on["restyled"]


def test_a_corpus_is_trained_on_where_a_cnn_starts_from_it() -> None:
    def pretrained(params: dict[str, Any]) -> dict[str, list[str]]:
        found = declarations(params)
        return {n.partition("@")[2]: s.deps for n, s in found.items() if n.startswith("corpus-pretrain@")}

    params = demo()
    assert pretrained(params) == {"photos": ["artifacts/photos"]}  # it stands for ImageNet
    params["corpora"]["original"] = {"kind": "original"}
    for name in ("grey", "original"):
        params["cnns"][name] = {**params["cnns"]["gan"], "start": name}
        params["variants"][f"{name}-1"] = {**params["variants"]["gan-1"], "cnns": [name], "paper": None}
    validate(params)
    assert {name: set(deps) for name, deps in pretrained(params).items()} == {
        "photos": {"artifacts/photos"},
        "original": {"artifacts/photos", "artifacts/pretrained/photos"},
        "grey": {"artifacts/controls/grey", "artifacts/pretrained/photos"},
    }
    assert "artifacts/pretrained/grey" in declarations(params)["extract-features@grey"].deps
    assert "control-corpus@original" not in declarations(params)
    params["imagenet"] = {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}
    assert pretrained(params).keys() == {"photos", "original", "grey"}  # the audit's classifier
    params["gan_audit"]["classifier"] = load_yaml(ROOT / "profiles/real-small.yaml")["gan_audit"]["classifier"]
    assert pretrained(params) == {"original": ["artifacts/photos"], "grey": ["artifacts/controls/grey"]}
    params["corpora"] = {}
    params["cnns"] = demo()["cnns"]
    params["variants"] = demo()["variants"]
    validate(params)
    assert not pretrained(params) and "control-corpus" not in render(params)["stages"]


def test_kid_of_the_translator_is_in_the_features_of_what_stands_for_imagenet() -> None:
    params = demo()
    assert {"artifacts/pretrained/photos", "artifacts/split/val-ids.parquet"} <= set(
        declarations(params)["gan-train"].deps
    )
    params["imagenet"] = {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}
    assert "artifacts/pretrained/photos" not in declarations(params)["gan-train"].deps


def test_the_translators_plots_have_the_identity_losses_only_where_there_are_such() -> None:
    for identity in (0, 5.0):
        params = demo()
        params["gan_train"]["identity"] = identity
        assert ("identity_ct" in str(render(params)["plots"])) == bool(identity)


def test_a_split_given_as_a_file_is_an_input() -> None:
    params = demo()
    assert not [dep for dep in declarations(params)["split-ct"].deps if dep.endswith("folds.csv")]
    params["split_ct"]["file"] = "data/folds.csv"
    assert "data/folds.csv" in declarations(params)["split-ct"].deps


def test_held_out_labels_and_what_is_odd_are_read_by_nobody() -> None:
    for name in ("labels-hold-out.parquet", "label-report.csv", "folds.csv"):
        assert not [stage for stage in declarations(demo()).values() if f"artifacts/split/{name}" in stage.deps]


def test_test_labels_are_read_by_evaluate_and_floors_alone() -> None:
    readers = {
        name.partition("@")[0]
        for name, stage in declarations(demo()).items()
        if "artifacts/split/labels-test.parquet" in stage.deps
    }
    assert readers == {"evaluate", "floors"}


def test_where_blood_was_drawn_is_no_input_of_what_is_made_from_it() -> None:
    """Masks of the phantoms are for figures: whatever depends on them, nothing may be trained on it."""
    found = declarations(demo())
    assert "artifacts/phantom-masks" in found["phantom-ct"].outs
    readers = {name for name, stage in found.items() if "artifacts/phantom-masks" in stage.deps}
    assert {name.partition("@")[0] for name in readers} <= {"evaluate", "report"}
    written = {out for name in readers for out in found[name].outs}
    trained = {name: stage for name, stage in found.items() if name.partition("@")[0] not in ("evaluate", "report")}
    assert not any(written & set(stage.deps) for stage in trained.values())


def test_a_variant_of_any_number_of_cnns_is_one_edit() -> None:
    params = demo()
    cnns = list(params["cnns"])
    params["variants"]["five"] = {
        **params["variants"]["2-cnn"],
        "cnns": [cnns[0], cnns[1], cnns[0], cnns[1], cnns[0]],
        "paper": None,
    }
    validate(params)
    before, after = declarations(demo()), declarations(params)
    assert after.keys() - before.keys() == {"vit-train@five", "evaluate@five"}
    changed = {
        name for name in before if (before[name].deps, before[name].params) != (after[name].deps, after[name].params)
    }
    assert changed == {"report"}
    group = render(params)["stages"]["vit-train"]
    assert group["foreach"]["five"] == {f"in{i}": f"artifacts/features/{cnns[i % 2]}" for i in range(5)}
    assert group["foreach"]["2-cnn"]["in4"] == group["foreach"]["2-cnn"]["in1"]  # repeats an input that it has


def test_folder_sources_hang_on_manifests() -> None:
    params = demo()
    params["prepare_ct"]["source"] = params["prepare_photos"]["source"] = "folder"
    found = declarations(params)
    assert "phantom-ct" not in found
    assert found["prepare-ct"].deps == ["data/ct.csv"]
    assert "data/labels.csv" in found["split-ct"].deps and found["prepare-photos"].deps == ["data/photos.csv"]


def test_an_imagenet_file_replaces_the_photos_cnn_as_start() -> None:
    params = demo()
    params["imagenet"] = {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}
    before, after = declarations(demo()), declarations(params)
    assert "artifacts/pretrained/photos" in before["gan-pretrain"].deps
    assert "artifacts/pretrained/photos" not in after["gan-pretrain"].deps
    tuned = [name for name in after if name.startswith("cnn-finetune@")]
    assert tuned and all("artifacts/pretrained/photos" not in after[name].deps for name in tuned)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gan_trane", {}, "did you mean 'gan_train'"),
        ("seed", "x", "seed"),
        ("report", {**demo()["report"], "reference": "prevalance"}, "did you mean 'prevalences'"),
        ("variants", {"a": {**demo()["variants"]["2-cnn"], "cnns": ["imagenet-q"]}}, "did you mean 'imagenet-"),
        ("cnns", {"a": {**demo()["cnns"]["gan"], "start": "gray"}}, r"cnns\.a\.start: .* did you mean 'grey'"),
        ("cnns", {"a": {**demo()["cnns"]["gan"], "architecture": "resnet10t"}},
         r"cnns\.a\.architecture: resnet10t cannot start from gan-pretrain, which is legacy_xception"),
        ("corpora", {"a": {"kind": "gray"}}, r"corpora\.a\.kind: .* did you mean 'grey'"),
        ("corpora", {"a": {}}, r"corpora\.a\.kind: there is no kind 'None'; known: original"),
        ("corpora", {"a": {"kind": "permuted", "sede": 0}}, "did you mean 'seed'"),
        ("corpora", {"photos": {"kind": "grey"}}, "another meaning"),
        ("corpora", {"a.b": {"kind": "grey"}}, "a–z, 0–9"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(key: str, value: Any, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        validate({**demo(), key: value})


def test_a_cnn_of_another_architecture_may_start_from_what_no_stage_made() -> None:
    params = demo()
    file = {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}
    for number, start in enumerate(("random", "timm", file)):
        params["cnns"][f"other-{number}"] = {**params["cnns"]["gan"], "architecture": "resnet10t", "start": start}
    validate(params)


def test_consistency_needs_a_network_that_is_not_the_audits() -> None:
    params = demo()
    params["gan_train"]["consistency"] = 1.0
    with pytest.raises(BadParameter, match="needs a CNN to probe"):
        validate(params)
    file = {"file": "x.safetensors", "sha256": "0" * 64, "batchnorm_eps": 0.001}
    params["imagenet"] = file
    audit = {"architecture": "a", "file": "y.safetensors", "sha256": "0" * 64, "side": 224, "classes": "imagenet"}
    for own in (None, audit):
        params["gan_audit"]["classifier"] = own
        with pytest.raises(BadParameter, match="must be another network than that of imagenet"):
            validate(params)
    params["gan_audit"]["classifier"] = {**audit, "sha256": "1" * 64}
    validate(params)


def test_a_side_that_is_not_prepared_is_said() -> None:
    params = demo()
    params["cnns"][next(iter(params["cnns"]))]["side"] = 77
    with pytest.raises(BadParameter, match=r"77 is not among prepare_ct\.sides"):
        validate(params)


def test_heads_read_slices_where_maps_are_not_cached() -> None:
    params = demo()
    cached = declarations(params)["vit-train@2-cnn"]
    params["extract_features"]["cache"] = False
    validate(params)
    for name in ("vit-train@2-cnn", "evaluate@2-cnn"):
        assert "artifacts/ct/images-96" in declarations(params)[name].deps
    assert not [dep for dep in cached.deps if dep.startswith("artifacts/ct")]
    params["cnns"]["gan"]["side"] = 128
    params["prepare_ct"]["sides"] = [96, 128]
    with pytest.raises(BadParameter, match=r"variants\.2-cnn\.cnns: see slices of different sides"):
        validate(params)


def test_logits_are_averaged_of_cnns_that_saw_ct_and_nothing_is_plotted_of_it() -> None:
    params = demo()
    assert params["variants"]["mean-logits"]["encoder"] == "mean-logits"
    assert not [plot for plot in render(params)["plots"] if "vit/mean-logits" in str(plot)]
    params["variants"]["mean-logits"]["cnns"] = ["imagenet-a", "gan"]
    with pytest.raises(BadParameter, match=r"variants\.mean-logits\.cnns: gan saw no CT labels"):
        validate(params)
