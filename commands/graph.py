"""`pipeline.py graph` and `pipeline.py profile`: render `dvc.yaml`, switch whole parameter sets."""

from settings.errors import BadParameter
from settings.loader import load_yaml, nearest
from settings.places import ROOT
from stages.graph import render, to_yaml
from stages.nodes import validate


def write_graph() -> None:
    """Check `params.yaml` and write `dvc.yaml` from it."""
    from stages.scale import check_networks  # loads torch

    params = load_yaml(ROOT / "params.yaml")
    validate(params)
    check_networks(params)
    text = to_yaml(render(params))
    path = ROOT / "dvc.yaml"
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if text == old:
        print("dvc.yaml: is what params.yaml asks for; nothing written")
        return
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    print("dvc.yaml: written; `python pipeline.py plan` lists what would run")


def switch_profile(name: str, force: bool) -> None:
    """Replace `params.yaml` by `profiles/<name>.yaml` and render; edits that no profile holds need `force`."""
    profiles = {path.stem: path for path in sorted((ROOT / "profiles").glob("*.yaml"))}
    if name not in profiles:
        raise BadParameter(f"profile '{name}' is unknown{nearest(name, list(profiles))}")
    params = ROOT / "params.yaml"
    present = params.read_text(encoding="utf-8") if params.exists() else ""
    shipped = [path.read_text(encoding="utf-8") for path in profiles.values()]
    if present and present not in shipped and not force:
        raise BadParameter("params.yaml: has edits that no profile holds; keep a copy, then repeat with --force")
    params.write_text(profiles[name].read_text(encoding="utf-8"), encoding="utf-8")
    print(f"params.yaml: profile {name}")
    write_graph()
