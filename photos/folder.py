"""An ImageFolder as ImageNet is kept: `<root>/<split>/<wnid>/<name>.JPEG`, and photos as square RGB.

Files are those that the manifest lists; what cannot be used becomes a reject, never a photo.
"""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from corpus.images import Reject
from corpus.manifest import Entry, encode_name, listed_files, read_verified, short_hash
from photos.parameters import Splits
from settings.errors import BadInput

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
IMAGENET = 1000  # lines of a synset_words.txt that names ImageNet's classes in index order


class Unusable(Exception):
    """A photo that cannot be used: the rule it broke, the reason in words."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule, self.reason = rule, reason


class Found(NamedTuple):
    """A photo's file: where it is, what the manifest says of it, its part ("train", "val"), class index and wnid."""

    path: Path
    entry: Entry
    part: str
    label: int
    wnid: str


class Folder(NamedTuple):
    """What an ImageFolder holds: photos in order of part, class, name; wnids in order of class index."""

    photos: list[Found]
    rejects: list[Reject]
    classes: list[str]
    class_names: list[str]
    imagenet_index: list[str] | None  # ImageNet's 1000 wnids in index order, where synset_words.txt lists them


def open_folder(root: Path, manifest: Path, splits: Splits) -> Folder:
    """The photos below `root` that the manifest lists, in the two splits.

    Class index = place among the sorted wnids of the train split. Rejected: files not at `<split>/<wnid>/<file>`,
    files without an image's suffix, val classes that train has not, classes whose name is not UTF-8. Files outside the
    two splits are left alone.
    Raises BadInput when a split is empty or train has fewer than two classes.
    """
    placed: list[tuple[str, str, Path, Entry]] = []
    rejects = []
    listed = listed_files(root, manifest)
    for path, entry in listed:
        relative = path.relative_to(root).as_posix()
        for part, split in (("train", splits.train), ("val", splits.val)):
            prefix = split.strip("/") + "/"
            if not relative.startswith(prefix):
                continue
            parents = relative.removeprefix(prefix).split("/")[:-1]
            if len(parents) != 1:
                rejects.append(Reject(entry.id, "place", "is not in a class's folder: expected <split>/<wnid>/<file>"))
            elif encode_name(parents[0]) != parents[0].encode(errors="replace"):
                rejects.append(Reject(entry.id, "place", "the name of its class's folder is not UTF-8"))
            elif path.suffix.lower() not in SUFFIXES:
                rejects.append(Reject(entry.id, "suffix", f"its suffix is none of {' '.join(SUFFIXES)}"))
            else:
                placed.append((part, parents[0], path, entry))
    classes = sorted({wnid for part, wnid, *_ in placed if part == "train"})
    if len(classes) < 2:
        raise BadInput(
            f"raw.photos: {root}/{splits.train} has {len(classes)} classes, at least 2 are needed as folders "
            f"{splits.train}/<wnid>/<photo>; mend local.yaml or prepare_photos.folder.train"
        )
    photos = []
    for part, wnid, path, entry in sorted(placed):
        if wnid in classes:
            photos.append(Found(path, entry, part, classes.index(wnid), wnid))
        else:
            rejects.append(Reject(entry.id, "unknown-class", f"the split '{splits.train}' has no class {wnid}"))
    if not any(photo.part == "val" for photo in photos):
        raise BadInput(
            f"raw.photos: {root}/{splits.val} has no photo of a class of '{splits.train}' as <wnid>/<photo>; "
            "held-out photos are needed: mend prepare_photos.folder.val"
        )
    words = _synset_words(root, listed)
    names = [words.get(wnid, wnid) for wnid in classes]
    return Folder(photos, rejects, classes, names, list(words) if len(words) == IMAGENET else None)


def read_photo(content: bytes, side: int) -> npt.NDArray[np.uint8]:
    """A photo file's content as side × side × 3 uint8: short side resized to `side`, then the centre square.

    Single-channel, 16-bit, CMYK and palette files become RGB; transparent parts become white; of an animation the
    first frame is taken. EXIF orientation is ignored, as torchvision's ImageFolder does. Raises Unusable.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if min(image.size) < 1 or image.mode == "F":
                raise Unusable("mode", f"mode {image.mode}, {image.width}×{image.height} pixels: no photo")
            rgb = _to_rgb(image)
    except UnidentifiedImageError:
        raise Unusable("not-an-image", "its content is of no known image format") from None
    except Image.DecompressionBombError:
        raise Unusable("too-large", f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:  # what Pillow's decoders raise
        raise Unusable("unreadable", " ".join(str(error).split()) or type(error).__name__) from None
    short = min(rgb.size)
    left, top = (rgb.width - short) / 2, (rgb.height - short) / 2
    box = (left, top, left + short, top + short)
    return np.asarray(rgb.resize((side, side), Image.Resampling.BICUBIC, box=box))  # Pillow's filter is antialiased


def read_found(photo: Found, side: int) -> npt.NDArray[np.uint8]:
    """`read_photo` of a file, checked against the manifest (BadInput); Unusable where it cannot be read at all."""
    try:
        content = read_verified(photo.path, photo.entry)
    except OSError as error:
        raise Unusable("unreadable", error.strerror or type(error).__name__) from None
    return read_photo(content, side)


def stem_hash(photo: Found) -> str:
    """What stands for the file's name in the index: names of a user's own photos may tell something."""
    return short_hash(photo.path.stem)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow's own conversion clips at 255
        values = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _synset_words(root: Path, listed: Sequence[tuple[Path, Entry]]) -> dict[str, str]:
    """wnid → first synonym, in the order of `synset_words.txt` at the root; empty where the manifest lists none."""
    for path, entry in listed:
        if path == root / "synset_words.txt":
            lines = read_verified(path, entry).decode("utf-8", errors="replace").splitlines()
            pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
            return {pair[0]: pair[1].split(",")[0].strip() if len(pair) > 1 else pair[0] for pair in pairs}
    return {}
