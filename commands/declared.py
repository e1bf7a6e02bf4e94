"""What `dvc.yaml` declares for one stage, after checking that it is the rendering of `params.yaml`.

Run as a child process (`python -m commands.declared STAGE`): it imports every room's parameters, and none of
that may count among the modules that the stage itself uses.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import yaml

from settings.errors import BadArtifact, BadParameter, PipelineError
from settings.loader import load_yaml, nearest
from settings.places import ROOT


def declared(name: str) -> dict[str, Any]:
    """The declaration of a stage (fields of `stages.graph.Declaration`); raises what the child found wrong."""
    child = subprocess.run(
        [sys.executable, "-m", "commands.declared", name], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if child.returncode == 3:
        raise BadParameter(child.stdout.strip())
    if child.returncode:
        raise BadArtifact(f"the graph could not be read: {child.stderr.strip()}")
    return dict(json.loads(child.stdout))


def check_rendered(params: dict[str, Any]) -> None:
    """BadArtifact unless `dvc.yaml` is what `params.yaml` and the code ask for (DVC's own `frozen:` apart)."""
    from stages.graph import render

    try:
        present = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadArtifact("dvc.yaml is missing; run `python pipeline.py graph`") from None
    wanted = render(params)
    for name, stage in (present or {}).get("stages", {}).items():
        (stage.get("do") or stage).pop("frozen", None)
        if stage != wanted["stages"].get(name):
            raise BadArtifact(
                f"dvc.yaml: stage {name} is not what params.yaml and the code ask for; run `pipeline.py graph`"
            )
    if present != wanted:
        raise BadArtifact("dvc.yaml is not what params.yaml and the code ask for; run `python pipeline.py graph`")


def _main(name: str) -> None:
    from stages.graph import declarations
    from stages.nodes import validate

    params = load_yaml(ROOT / "params.yaml")
    validate(params)
    check_rendered(params)
    found = declarations(params)
    if name not in found:
        raise BadParameter(f"there is no stage '{name}'{nearest(name, list(found))}")
    print(json.dumps(asdict(found[name])))


if __name__ == "__main__":
    try:
        _main(sys.argv[1])
    except PipelineError as error:
        print(error)
        sys.exit(3)
