from typing import Any

import pytest

from evaluation.arms import Group, groups, seeds
from settings.loader import load_yaml
from settings.places import ROOT


@pytest.fixture
def params() -> dict[str, Any]:
    return load_yaml(ROOT / "profiles/arms.yaml")


def test_the_arms_profile_has_the_primary_result_in_both_states_at_three_shares(params: dict[str, Any]) -> None:
    found = [group for group in groups(params) if group.primary]
    assert [(group.state, group.fraction) for group in found] == [
        (state, share) for state in ("frozen", "fine-tuned") for share in (1, 0.1, 0.01)
    ]
    for group in found:
        assert [group.name_of(pair) for pair in group.contrasts] == ["translated − original", "translated − restyled"]
        for name in group.arms.values():  # CNN and head have the same share of the train patients
            variant = params["variants"][name]
            (cnn,) = (params["cnns"][cnn] for cnn in variant["cnns"])
            assert variant.get("fraction", 1) == group.fraction and variant["encoder"] == "linear"
            assert cnn["trained_on"] == ("ct" if group.state == "fine-tuned" else "nothing")
            assert group.state == "frozen" or cnn.get("fraction", 1) == group.fraction


def test_the_other_arms_stand_against_the_translated_one_within_a_state(params: dict[str, Any]) -> None:
    frozen, tuned = (group for group in groups(params) if not group.primary)
    arms = ["none", "original", "grey", "restyled", "translated", "permuted", "untrained"]
    assert [*frozen.arms] == [*arms, "batchnorm"] and [*tuned.arms] == arms
    assert {variant for variant, _ in frozen.contrasts} == {"translated"} and len(frozen.contrasts) == 7
    assert {variant for variant, _ in tuned.contrasts} == {"translated-ct"}
    assert all(baseline.endswith("-ct") for _, baseline in tuned.contrasts)


def test_what_differs_in_more_than_its_start_is_no_arm(params: dict[str, Any]) -> None:
    params["cnns"]["original"]["side"] = 128
    params["variants"]["restyled-linear"]["context"] = {"dim": 96}
    params["variants"]["restyled-ct-linear-10"]["fraction"] = 0.2
    found = groups(params)

    def holding(name: str) -> list[Group]:
        return [group for group in found if name in group.arms.values()]

    assert not holding("original-linear") and not holding("original") and not holding("restyled-linear")
    assert not holding("translated-linear") and not holding("restyled-ct-linear-10")
    (rest,) = holding("translated-ct-linear-10")
    assert [rest.name_of(pair) for pair in rest.primary] == ["translated − original"]


def test_a_share_of_the_head_alone_is_no_label_fraction(params: dict[str, Any]) -> None:
    for arm in ("original", "translated"):
        params["variants"][f"{arm}-ct-linear"]["fraction"] = 0.5
    (group,) = (g for g in groups(params) if "original-ct-linear" in g.arms.values())
    assert not group.primary


def test_seeds_are_so_far_apart_that_no_training_is_another_ones(params: dict[str, Any]) -> None:
    own = {entry["seed"] for table in ("cnns", "variants") for entry in params[table].values()}
    assert own == {0, 1}
    found = seeds(params, 3)
    assert found == [0, 2, 4] and len({seed + each for seed in found for each in own}) == 6
    params["cnns"]["none-ct-b"]["seed"] = 0
    assert seeds(params, 3) == [0, 1, 2]
