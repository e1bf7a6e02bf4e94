import jinja2
import pytest

from evaluation.page import environment
from settings.places import ROOT


@pytest.mark.parametrize(
    ("template", "written"),
    [("{{ 12345 | number }}", "12 345"), ("{{ 0.12345 | number(3) }}", "0.123"), ("{{ none | number }}", "n/a"),
     ("{{ -0.5 | signed }}", "−0.500"), ("{{ 0.9433 | percent }}", "94.33 %"), ("{{ 5400 | duration }}", "1.5 h"),
     ("{{ '<b>' }}", "&lt;b&gt;")],
)  # fmt: skip
def test_how_pages_write_figures(template: str, written: str) -> None:
    assert environment(ROOT / "evaluation").from_string(template).render() == written


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment(ROOT / "evaluation").from_string("{{ missing }}").render()
