from typing import Any

import pytest

from settings.errors import BadParameter
from settings.loader import read_section
from vit.parameters import Shape, Variant, Vit

ENTRY = {"cnns": [], "patch": 1, "side": None, "projection": None, "encoder": "vit", "seed": 0}
CONTEXT = {
    "dim": 12, "depth": 1, "heads": 2, "mlp_ratio": 2, "dropout": 0.1, "drop_path": 0.0, "reach": 2, "length": 2,
}  # fmt: skip
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
        ({"side": 96, "grid": [7, 7]}, "grid: is of CNN maps"),
        ({"side": 96, "encoder": "linear"}, "encoder: linear reads CNNs"),
        ({"cnns": ["a"], "grid": [7, 8], "patch": 2}, r"patch: 2 does not divide grid \(7, 8\)"),
        ({"cnns": ["a"], "encoder": "linear", "projection": 8}, "encoder: linear has no tokens"),
        ({"cnns": ["a"], "encoder": "mean-logits", "context": CONTEXT}, "context: a mean of logits trains nothing"),
        ({"cnns": ["a"], "encoder": "mean-logits", "fraction": 0.1}, "fraction: a mean of logits is fitted on nothing"),
        ({"cnns": ["a"], "context": {**CONTEXT, "heads": 5}}, "heads: 5 does not divide dim 12; choose one of 1, 2, 3"),
    ],
)
def test_a_variant_reads_maps_or_images(entry: dict[str, Any], word: str) -> None:
    with pytest.raises(BadParameter, match=word):
        read_section(Variant, {**ENTRY, **entry}, "variants.x")


def test_a_head_is_rebuilt_from_the_shape_of_its_variant() -> None:
    entry = {**ENTRY, "cnns": ["a"], "grid": [3, 3], "context": CONTEXT, "paper": "ViT"}
    shape = read_section(Variant, entry, "variants.x").shape
    assert shape == Shape(**shape.model_dump()) and "paper" not in shape.model_dump()
    assert (shape.grid, shape.context and shape.context.reach) == ((3, 3), 2)
