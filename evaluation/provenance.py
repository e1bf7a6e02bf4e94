"""What a run was computed from and on, drawn together from the provenance of its stages."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def digest_of_parameters(records: Sequence[Record]) -> str:
    """16 hex digits of SHA-256 over every parameter that some stage read, whatever the order of stages and keys."""
    return _digest(parameters_of(records))


def parameters_of(records: Sequence[Record]) -> dict[str, Any]:
    """What the stages read of params.yaml, as one tree: each declares its own part of it."""
    merged: dict[str, Any] = {}
    for record in records:
        _merge(merged, record["parameters"])
    return merged


def digest_of_code(records: Sequence[Record]) -> str:
    """The same over the modules that some stage ran; a module of two contents counts with both."""
    return _digest(sorted({(path, digest) for record in records for path, digest in record["code"].items()}))


def edited(records: Sequence[Record]) -> list[str]:
    """Modules that had another content for one stage than for another: the stages ran before and after an edit."""
    contents = Counter(path for path, _ in {item for record in records for item in record["code"].items()})
    return sorted(path for path, count in contents.items() if count > 1)


def seeds_of(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Dotted name and value of every seed; of tables' own, which are added to `seed`, those that are not 0."""
    found = [(".".join(path), value) for path, value in _seeds(parameters_of(records), ())]
    tables = ("cnns.", "variants.", "corpora.")
    return [(name, value) for name, value in found if value or not name.startswith(tables)]


def revisions(records: Sequence[Record]) -> list[str]:
    """Commits at which the stages ran, the most frequent first; `?` where there was no git."""
    return [name or "?" for name, _ in Counter(record.get("revision", "") for record in records).most_common()]


def _seeds(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(tree, Mapping):
        for key in sorted(tree):
            yield from _seeds(tree[key], (*path, str(key)))
    elif path and path[-1] == "seed" and isinstance(tree, int):
        yield path, tree


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, Mapping):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
