from typing import Any

import pytest
from pydicom.dataset import Dataset

from ct.head import cautions, check_kind, is_unknown_part
from ct.pixels import Refused

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def ct(**tags: object) -> Dataset:
    dataset = Dataset()
    dataset.Modality = "CT"
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    "part", ["HEAD", "head", "BRAIN", "Skull base", "HEADNECK", "HEAD_AND_NECK", "ORBIT", "IAC EAR"]
)
def test_a_head_is_taken_without_a_word(part: str) -> None:
    dataset = ct(BodyPartExamined=part)
    check_kind(dataset)
    assert not is_unknown_part(dataset)


@pytest.mark.parametrize("part", ["ROUTINE", "WHOLEBODY", "CARM", "SHIP"])
def test_an_unknown_part_is_taken_and_told(part: str) -> None:
    dataset = ct(BodyPartExamined=part)
    check_kind(dataset)
    assert is_unknown_part(dataset)


@pytest.mark.parametrize(
    "part",
    ["CHEST", "Abdomen", "ABDOMENPELVIS", "CSPINE", "LSPINE", "C-SPINE", "NECK", "KNEE", "LEG", "HEART", "L_HIP"],
)
def test_another_part_is_refused(part: str) -> None:
    with pytest.raises(Refused) as refused:
        check_kind(ct(BodyPartExamined=part))
    assert refused.value.rule == "not-head"


def test_where_nothing_is_given_nothing_is_refused() -> None:
    for dataset in (ct(), ct(BodyPartExamined="", ImageType=None), ct(ImageType=["DERIVED", "SECONDARY", "AXIAL"])):
        check_kind(dataset)
        assert not is_unknown_part(dataset)


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (("contrast",), {"ContrastBolusAgent": "APPLIED"}),
        (("contrast",), {"ContrastBolusAgentSequence": [Dataset()]}),
        ((), {"ContrastBolusAgent": ""}),
        ((), {"ContrastBolusAgent": "None"}),
        (("reformatted",), {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        (("reformatted",), {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]}),
        ((), {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}),
        ((), {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}),
    ],
)
def test_what_a_reader_is_warned_of(words: tuple[str, ...], tags: dict[str, object]) -> None:
    assert cautions(ct(**tags), None) == words


def test_kernels_for_bone_and_lung_are_sharp() -> None:
    """Siemens' (old and new), GE's, Canon's and Philips' for bone and lung, then theirs for the brain."""
    sharp: list[Any] = ["H60s", "H70h", "B70f", ["Hr64h", "3"], "BONE", "BONEPLUS", "LUNG", "FC30", "FC81", "YC"]
    smooth: list[Any] = ["H31s", "Hr38f", ["Hr40h", "3"], "STANDARD", "SOFT", "FC21", "FC64", "UB", "", None]
    for kernel in sharp:
        assert cautions(ct(), kernel) == ("sharp-kernel",), kernel
    for kernel in smooth:
        assert cautions(ct(), kernel) == (), kernel


def test_reasons_quote_known_words_only() -> None:
    for dataset in (ct(Modality="DOE^JANE"), ct(SOPClassUID="1.2.3.77"), ct(BodyPartExamined="DOE JANE CHEST")):
        with pytest.raises(Refused) as refused:
            check_kind(dataset)
        assert not any(word in str(refused.value) for word in ("DOE", "77"))
