from typing import Any

import pytest

from gan.parameters import GanTrain
from settings.errors import BadParameter
from settings.loader import read_section
from tests.gan.made import PARAMETERS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"field": 34}, r"34 px is more than field_share 0\.5 of side 32; take field 16, or raise field_share"),
        ({"field": 11, "side": 16, "field_share": 0.25}, "side must be ≥ 44"),
        ({"field": 20}, r"no PatchGAN of 20 px; take one of \[11, 16, 23, 34"),
        ({"pool": 1}, "pool: 1 is less than batch 2; take 0 or at least 2"),
        ({"ct_zoom": [0.5, 2]}, "ct_zoom: must be"),
        ({"side": 34}, "multiple of 4"),
        ({"cycel": 10}, "did you mean 'cycle'"),
    ],
)
def test_what_cannot_be_is_said_with_a_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        read_section(GanTrain, {**PARAMETERS, **change}, "gan_train")
