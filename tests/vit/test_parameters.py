from typing import Any

import pytest

from settings.errors import BadParameter
from settings.loader import read_section
from vit.parameters import Variant, Vit

ENTRY = {"cnns": [], "patch": 1, "side": None, "projection": None, "encoder": "vit", "seed": 0}
PAPER = {"dim": 1456, "depth": 12, "heads": 13, "mlp_ratio": 4, "dropout": 0.0, "drop_path": 0.0, "pool": "token"}


def test_heads_must_divide_and_the_error_names_the_divisors() -> None:
    assert read_section(Vit, PAPER, "vit").heads == 13
    with pytest.raises(BadParameter, match=r"heads: 12 does not divide dim 1456; .*1, 2, 4, 7, 8, 13, 14, 16, "):
        read_section(Vit, {**PAPER, "heads": 12}, "vit")


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"cnns": []}, "side"),
        ({"cnns": ["a"], "side": 96}, "side"),
        ({"cnns": [], "side": 96, "projection": 128}, "projection"),
        ({"cnns": ["a"], "projecton": 128}, "did you mean 'projection'"),
        ({"side": 96, "patch": 7}, "patch: 7 does not divide side 96"),
    ],
)
def test_a_variant_reads_maps_or_images(entry: dict[str, Any], word: str) -> None:
    with pytest.raises(BadParameter, match=word):
        read_section(Variant, {**ENTRY, **entry}, "variants.x")
