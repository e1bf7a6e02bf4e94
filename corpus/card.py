"""`card.json`: what an artifact holds, and nothing of when, where or by which code it was made.

Fingerprints, versions and seeds are in `artifacts/provenance/`: in the card they would make every stage below
rerun after a change that altered no content.
"""

import json
from pathlib import Path
from typing import Any

from settings.errors import BadArtifact

SCHEMA = 1


def write_card(folder: Path, kind: str, **content: Any) -> None:
    """Write `folder/card.json`; `kind` names what the folder is ("windows", "hu", "photos", "classifier", …)."""
    card = {"kind": kind, "schema": SCHEMA, **content}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def read_card(folder: Path, *kinds: str) -> dict[str, Any]:
    """The card of an artifact; BadArtifact if there is none, or it is of none of the given kinds."""
    try:
        card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadArtifact(f"{folder}: no card.json, so no artifact; run the stage that writes it") from None
    except json.JSONDecodeError as error:
        raise BadArtifact(f"{folder}/card.json: damaged ({error}); delete the folder and rerun its stage") from None
    if card.get("schema") != SCHEMA:
        raise BadArtifact(f"{folder}: schema {card.get('schema')}, this code reads {SCHEMA}; rerun its stage")
    if kinds and card.get("kind") not in kinds:
        raise BadArtifact(f"{folder}: is '{card.get('kind')}', expected {' or '.join(kinds)}")
    return card
