"""What pages share: their templates' environment, and how figures are written."""

from pathlib import Path

import jinja2


def environment(folder: Path) -> jinja2.Environment:
    """Templates of a folder; a name that is not given is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "number": number, "signed": signed, "percent": percent, "duration": duration,
        "thousands": lambda n: f"{n:,}".replace(",", " "),
    }  # fmt: skip
    return made


def number(value: float | None, digits: int = 4) -> str:
    """A count with its thousands apart, any other figure with `digits` decimals; None is n/a."""
    if value is None:
        return "n/a"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, and a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 2) -> str:
    """Of a share, 0 … 1; None is n/a."""
    return "n/a" if value is None else f"{100 * value:.{digits}f} %"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as they are told."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
