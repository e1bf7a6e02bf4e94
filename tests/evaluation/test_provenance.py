from typing import Any

from evaluation.provenance import (
    digest_of_code,
    digest_of_parameters,
    edited,
    parameters_of,
    revisions,
    seeds_of,
)


def record(parameters: dict[str, Any], code: dict[str, str], revision: str = "aaa") -> dict[str, Any]:
    return {"parameters": parameters, "code": code, "revision": revision}


A = record({"seed": 0, "cnns": {"a": {"seed": 1, "side": 96}}}, {"x.py": "1", "y.py": "2"})
B = record({"seed": 0, "cnns": {"b": {"seed": 0}}, "floors": {"bins": 8}}, {"x.py": "1"}, "bbb")


def test_the_digests_know_contents_and_no_order() -> None:
    assert parameters_of([A, B]) == {
        "seed": 0, "cnns": {"a": {"seed": 1, "side": 96}, "b": {"seed": 0}}, "floors": {"bins": 8},
    }  # fmt: skip
    for digest in (digest_of_parameters, digest_of_code):
        assert digest([A, B]) == digest([B, A]) and len(digest([A])) == 16
    other = record({**B["parameters"], "floors": {"bins": 9}}, {"x.py": "3"})
    assert digest_of_parameters([A, other]) != digest_of_parameters([A, B])
    assert digest_of_code([A, other]) != digest_of_code([A, B])
    assert A["parameters"]["cnns"] == {"a": {"seed": 1, "side": 96}}, "records are left as they were"


def test_what_was_edited_between_stages_is_named() -> None:
    assert edited([A, B]) == []
    assert edited([A, record({}, {"x.py": "3"})]) == ["x.py"]


def test_seeds_and_revisions() -> None:
    assert seeds_of([A, B]) == [("cnns.a.seed", 1), ("seed", 0)]
    assert revisions([A, B, A, record({}, {}, "")]) == ["aaa", "bbb", "?"]
