"""The arms differ in their corpus and in nothing else: held against the rendered graph of their profile."""

from functools import cache
from typing import Any

import pytest

from settings.loader import load_yaml
from settings.places import ROOT
from stages.graph import Declaration, declarations

CORPORA = ("original", "grey", "restyled", "translated", "permuted", "untrained")


@cache
def params() -> dict[str, Any]:
    return load_yaml(ROOT / "profiles/arms.yaml")


@cache
def graph() -> dict[str, Declaration]:
    return declarations(params())


def pretraining(corpus: str) -> Declaration:
    return graph()["gan-pretrain" if corpus == "translated" else f"corpus-pretrain@{corpus}"]


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_pretraining_differs_from_the_others_in_its_corpus_alone(corpus: str) -> None:
    mine, other = pretraining(corpus), pretraining("original")
    assert mine.params == other.params
    assert {*mine.code} - {"stages/gan_pretrain.py"} == {*other.code} - {"stages/gan_pretrain.py"}
    made = {"original": "artifacts/photos", "translated": "artifacts/translated"}
    start = "artifacts/pretrained/photos"
    assert mine.deps == [made.get(corpus, f"artifacts/controls/{corpus}"), start]


@pytest.mark.parametrize(
    ("ending", "head", "least"),
    [
        ("", "", 7), ("-ct", "-ct", 7), ("", "-linear", 3), ("", "-linear-10", 3), ("", "-linear-1", 3),
        ("-ct", "-ct-linear", 3), ("-ct-10", "-ct-linear-10", 3), ("-ct-1", "-ct-linear-1", 3),
    ],
)  # fmt: skip
def test_the_entries_of_a_state_differ_in_their_start_alone(ending: str, head: str, least: int) -> None:
    names = {name.removesuffix(head) for name in params()["variants"] if name.endswith(head)}
    arms = [name for name in ("none", *CORPORA) if name in names]
    assert len(arms) >= least
    rest = [{k: v for k, v in params()["cnns"][f"{arm}{ending}"].items() if k != "start"} for arm in arms]
    assert all(entry == rest[0] for entry in rest)
    starts = [params()["cnns"][f"{arm}{ending}"]["start"] for arm in arms]
    assert len(set(starts)) == len(arms)
    heads = [params()["variants"][f"{arm}{head}"] for arm in arms]
    assert [entry["cnns"] for entry in heads] == [[f"{arm}{ending}"] for arm in arms]
    rest = [{k: v for k, v in entry.items() if k not in ("cnns", "paper")} for entry in heads]
    assert all(entry == rest[0] for entry in rest)


def test_the_stages_of_an_arm_read_the_same_but_for_what_its_cnn_starts_from() -> None:
    for stage, ending in (("extract-features", ""), ("cnn-finetune", "-ct"), ("vit-train", ""), ("evaluate", "-ct")):
        found = []
        for arm in CORPORA:
            item = graph()[f"{stage}@{arm}{ending}"]
            own = (f"artifacts/pretrained/{arm}", f"artifacts/features/{arm}{ending}", f"artifacts/vit/{arm}{ending}")
            deps = [dep for dep in item.deps if dep not in own]
            assert len(deps) < len(item.deps)
            found.append((deps, item.code, [key.replace(f"{arm}{ending}", "ARM") for key in item.params]))
        assert all(one == found[0] for one in found), stage


def test_a_cnn_that_never_saw_a_label_has_none_above_it() -> None:
    maker = {out: stage for stage in graph().values() for out in stage.outs}

    def above(name: str) -> set[str]:
        found = set(graph()[name].deps)
        for dep in graph()[name].deps:
            if dep in maker:
                found |= above(maker[dep].name)
        return found

    probes = [name for name, entry in params()["cnns"].items() if entry["trained_on"] != "ct"]
    assert {"batchnorm", "none", "translated"} <= set(probes)
    for name in probes:
        assert not {dep for dep in above(f"extract-features@{name}") if "labels-" in dep}, name
    assert {dep for dep in above("extract-features@none-ct") if "labels-" in dep}


def test_no_arm_ends_before_the_others() -> None:
    assert params()["corpus_pretrain"]["patience"] is None and params()["cnn_finetune"]["patience"] is None
