from pathlib import Path

import pytest
from pydantic import Field

from settings.errors import BadParameter
from settings.loader import Parameters, load_yaml, read_section, read_table, read_value


class Inner(Parameters):
    learning_rate: float = Field(gt=0)


class Outer(Parameters):
    images: int = Field(gt=0)
    inner: Inner
    maybe: Inner | None = None


GOOD = {"images": 4, "inner": {"learning_rate": 0.1}}


def message(data: object) -> str:
    with pytest.raises(BadParameter) as caught:
        read_section(Outer, data, "gan_train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_key_names_the_nearest_known_one_at_any_depth() -> None:
    assert "gan_train.image: unknown parameter; did you mean 'images'?" in message({**GOOD, "image": 3})
    assert "did you mean 'learning_rate'" in message({**GOOD, "inner": {"learning_rate": 1, "lerning_rate": 2}})
    assert "did you mean 'learning_rate'" in message({**GOOD, "maybe": {"learning_rate": 1, "lerning_rate": 2}})


def test_a_wrong_value_is_named_with_its_place() -> None:
    text = message({**GOOD, "inner": {"learning_rate": -1}})
    assert text.startswith("gan_train.inner.learning_rate") and "-1" in text


def test_a_missing_key_is_named() -> None:
    assert message({"images": 3}).startswith("gan_train.inner: missing")
    assert "did you mean 'images'" in message({"image": 3, "inner": {"learning_rate": 1}})


def test_table_names_must_suit_dvc() -> None:
    assert read_table(Inner, {"a-1": {"learning_rate": 1}}, "cnns")["a-1"].learning_rate == 1
    with pytest.raises(BadParameter, match=r"cnns.a.b: a name may have only"):
        read_table(Inner, {"a.b": {"learning_rate": 1}}, "cnns")


def test_values_and_files(tmp_path: Path) -> None:
    assert read_value(int, 3, "seed") == 3
    with pytest.raises(BadParameter, match="seed"):
        read_value(int, "x", "seed")
    with pytest.raises(BadParameter, match="missing"):
        load_yaml(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(BadParameter, match="not valid YAML"):
        load_yaml(tmp_path / "params.yaml")
