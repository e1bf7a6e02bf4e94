"""Parameters of `prepare-photos`, and of the corpora that are made of the photos without a translator."""

from typing import Any, Literal

from pydantic import Field, model_validator

from settings.errors import BadParameter
from settings.loader import Parameters, check_names, nearest, read_section


class Drawn(Parameters):
    """The embedded photos: scenes drawn by `photos/drawn.py`."""

    classes: int = Field(ge=2, le=12)  # the first so many of the kinds that photos/objects.py can draw
    per_class: int = Field(ge=2)  # photos of each class, both parts together
    held_out_share: float = Field(gt=0, lt=1)  # of them are the part "val": never seen by the translator
    seed: int = Field(ge=0)

    @property
    def held_out(self) -> int:
        """Photos of each class in the part "val"."""
        return min(self.per_class - 1, max(1, round(self.per_class * self.held_out_share)))


class Splits(Parameters):
    """Folders below the raw root `photos`: `<split>/<wnid>/<name>.jpg`."""

    train: str = Field(min_length=1)
    val: str = Field(min_length=1)  # held out: the audit's photos

    @model_validator(mode="after")
    def _differ(self) -> "Splits":
        if self.train == self.val:
            raise ValueError(f"train and val are both '{self.train}'; held-out photos need a folder of their own")
        return self


class PreparePhotos(Parameters):
    """Photos → one image corpus with a train and a val part."""

    source: Literal["drawn", "folder"]  # the embedded photos, or the files that data/photos.csv lists
    side: int = Field(ge=16, le=1024)  # pixels: short side resized to this, then the centre square
    drawn: Drawn
    folder: Splits


class Original(Parameters):
    """The photos as they are: no corpus is made of them, a CNN is trained further on them."""

    kind: Literal["original"]


class Grey(Parameters):
    """The photos' luminance, linear over the HU range, then the windows: the chain without a translator."""

    kind: Literal["grey"]


class Histogram(Parameters):
    """Grey photos, each with the distribution of HU that train patients' CT crops have together."""

    kind: Literal["histogram"]
    crops: int = Field(ge=1)  # CT crops that are looked at, at most: one a slice, of slices spread evenly
    seed: int = Field(ge=0)  # added to the shared seed: where the crops lie


class Fourier(Parameters):
    """Grey photos, each with the low-frequency amplitude of a CT crop: FDA (Yang, Soatto: arXiv 2004.05498)."""

    kind: Literal["fourier"]
    crops: int = Field(ge=1)  # CT crops to choose from, at most: one a slice, of slices spread evenly
    low_frequencies: float = Field(gt=0, lt=0.5)  # half-width of the swapped square, share of the side; the paper's β
    seed: int = Field(ge=0)  # added to the shared seed: where the crops lie, and which a photo gets


class Permuted(Parameters):
    """The translated corpus, its classes permuted among the images of each part."""

    kind: Literal["permuted"]
    seed: int = Field(ge=0)  # added to the shared seed


class Untrained(Parameters):
    """The photos through a generator of the translator's architecture with random weights."""

    kind: Literal["untrained"]
    seed: int = Field(ge=0)  # added to the shared seed


Corpus = Original | Grey | Histogram | Fourier | Permuted | Untrained
KINDS: dict[str, type[Corpus]] = {
    "original": Original, "grey": Grey, "histogram": Histogram, "fourier": Fourier, "permuted": Permuted,
    "untrained": Untrained,
}  # fmt: skip
TAKEN = ("photos", "translated", "imagenet", "random", "gan-pretrain")  # names that mean something else


def read_corpus(data: Any, where: str) -> Corpus:
    """One entry of the table `corpora`; its `kind` says which parameters it has."""
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in KINDS:
        raise BadParameter(f"{where}.kind: there is no kind '{kind}'{nearest(str(kind), list(KINDS))}")
    return read_section(KINDS[kind], data, where)


def read_corpora(data: Any) -> dict[str, Corpus]:
    """The table `corpora`: what stands beside the translated corpus. May be empty."""
    check_names(data, "corpora")
    if taken := [name for name in data if name in TAKEN]:
        raise BadParameter(f"corpora.{taken[0]}: the name has another meaning (cnns.*.start, artifacts/); choose one")
    return {name: read_corpus(entry, f"corpora.{name}") for name, entry in data.items()}
