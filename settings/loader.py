"""`params.yaml` as typed, frozen objects; an unknown key is an error that names the nearest known one."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from settings.errors import BadParameter


class Parameters(BaseModel):
    """Base of every parameter section: immutable, and no key but the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=BaseModel)


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; BadParameter if it is missing, damaged or no mapping."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadParameter(f"{path.name} is missing: {path}; run the command in the root of the checkout") from None
    except yaml.YAMLError as error:
        raise BadParameter(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadParameter(f"{path.name} must be a mapping of sections, not {type(data).__name__}")
    return data


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to a wrong one, else the list of known words."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else "; there are none"


def read_section(model: type[P], data: Any, where: str) -> P:
    """Validate one section of the parameters.

    `where` is its dotted name in `params.yaml`, for the message. Raises BadParameter in one line that names the
    key, its value and, for an unknown key, the nearest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise BadParameter(_in_one_line(error, where, model)) from None


def read_table(model: type[P], data: Any, where: str) -> dict[str, P]:
    """A table of at least one named entry (`cnns`, `variants`)."""
    check_names(data, where)
    if not data:
        raise BadParameter(f"{where}: must be a table with at least one entry")
    return {name: read_section(model, entry, f"{where}.{name}") for name, entry in data.items()}


def check_names(data: Any, where: str) -> None:
    """BadParameter unless `data` is a table whose names match `[a-z0-9-]+`, which DVC's `@name` needs."""
    if not isinstance(data, dict):
        raise BadParameter(f"{where}: must be a table of named entries")
    for name in data:
        if not (isinstance(name, str) and name and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in name)):
            raise BadParameter(f"{where}.{name}: a name may have only a–z, 0–9 and '-'; rename it")


def read_value(kind: Any, data: Any, where: str) -> Any:
    """Validate a parameter that is no section, such as `seed`."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        raise BadParameter(_in_one_line(error, where, None)) from None


def known_section(data: dict[str, Any], known: list[str], where: str = "params.yaml") -> None:
    """BadParameter for the first top-level key that is not known."""
    for key in data:
        if key not in known:
            raise BadParameter(f"{where}: unknown section '{key}'{nearest(key, known)}")


def _in_one_line(error: ValidationError, where: str, model: type[BaseModel] | None) -> str:
    errors = error.errors()
    # A mistyped key is missing under its right name as well: say what was typed.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    path = ".".join([where, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return f"{path}: unknown parameter{nearest(str(first['loc'][-1]), list(owner.model_fields)) if owner else ''}"
    if first["type"] == "missing":
        return f"{path}: missing; every parameter of the section must be given"
    message = first["msg"].removeprefix("Value error, ")
    got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{path}: {message[0].lower()}{message[1:]}{got}"


def _model_at(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    for part in loc:
        if model is None or part not in model.model_fields:
            return None
        inner = model.model_fields[str(part)].annotation
        candidates = [inner, *getattr(inner, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return model
