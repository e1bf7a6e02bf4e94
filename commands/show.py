"""`pipeline.py show ID`: one slice in its three windows side by side, with its labels below."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from PIL import Image, ImageDraw

from commands.slices import positives, read_split
from corpus.images import Images
from corpus.manifest import short_hash
from settings.errors import BadParameter
from settings.loader import load_yaml
from settings.places import ROOT

PANEL = 384  # pixels
LINE = 16


def show(name: str, out: Path | None) -> None:
    """Write the slice of that id as PNG to `out`, or to `<id>.png` in the present folder, and print the path.

    `name`: the id in the index or, where ids are hashes, the SOPInstanceUID itself. BadParameter if there is none.
    """
    side = load_yaml(ROOT / "params.yaml")["prepare_ct"]["hu_side"]
    images = Images(ROOT / f"artifacts/ct/hu-{side}", "hu")
    ids = images.index["id"]
    for id_ in (name, short_hash(name)):
        row = pc.index(ids, id_).as_py()
        if row >= 0:
            break
    else:
        raise BadParameter(
            f"show: {images.folder.name} has no slice '{name}', nor one of its hash, among {len(images):,}; "
            f"ids look like {ids[0]}"
        )
    path = out or Path(f"{id_}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(images, row, _words(id_)).save(path)
    print(path.resolve())


def picture(images: Images, row: int, words: str) -> Image.Image:
    """One slice of a corpus in its three windows, and lines below: windows, place, `words`."""
    pixels = images.read_windows([row])[0]
    sheet = Image.new("RGB", (3 * PANEL, PANEL + 3 * LINE + 4), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for number, window in enumerate(images.windows()):
        panel = Image.fromarray(np.ascontiguousarray(pixels[..., number])).resize(
            (PANEL, PANEL), Image.Resampling.BICUBIC
        )
        sheet.paste(panel.convert("RGB"), (number * PANEL, 0))
        draw.text(
            (number * PANEL + 4, PANEL + 2), f"level {window.level:g}, width {window.width:g} HU", (160, 160, 160)
        )
    slice_ = images.index.slice(row, 1).to_pylist()[0]
    place = f"{slice_['id']}   patient {slice_['patient']}, series {slice_['series']}, {slice_['position']:.1f} mm"
    for line, text in enumerate((place, words), start=1):
        draw.text((4, PANEL + 2 + line * LINE), text, (230, 230, 230))
    return sheet


def _words(id_: str) -> str:
    """The part and the labels of a slice, as far as they are known."""
    split = read_split(ROOT / "artifacts/split")
    for part, labels in split.labels.items():
        row = pc.index(labels["id"], id_).as_py()
        if row >= 0:
            names = positives(labels.slice(row, 1).to_pylist()[0])
            return f"{part}: {', '.join(names) or 'no haemorrhage'}"
    return "no label known" if split.labels else "no labels yet (dvc repro split-ct)"
