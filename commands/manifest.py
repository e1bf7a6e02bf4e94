"""`pipeline.py manifest`: list the raw files for DVC, re-hashing only those whose size or time changed."""

from corpus.manifest import write_manifest
from settings.errors import BadInput
from settings.places import ROOT, Raw, load_local, raw_root, work_root

KINDS: tuple[Raw, ...] = ("ct", "labels", "photos")


def write_manifests() -> None:
    """Write `data/<kind>.csv` for every raw root that `local.yaml` names; BadInput when it names none."""
    local = load_local()
    named = [kind for kind in KINDS if getattr(local.raw, kind) is not None]
    if not named:
        raise BadInput("local.yaml names no raw root; write raw: {ct: …, labels: …, photos: …} (docs/guide.md)")
    for kind in named:
        root = raw_root(local, kind)
        count = write_manifest(root, ROOT / "data" / f"{kind}.csv", work_root() / "names" / f"{kind}.csv")
        print(f"data/{kind}.csv: {count:,} files")
    print(f"now: dvc add {' '.join(f'data/{kind}.csv' for kind in named)}")
