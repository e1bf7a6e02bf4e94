"""An image corpus: uint8 shards (N×H×W×C), `index.parquet` (a row an image), `rejects.csv`, `contact.png`, a card.

Kinds: "windows" (three CT windows), "hu" (one channel, linear over the card's `hu_range`), "photos" (RGB).
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.card import read_card, write_card
from corpus.contact_sheet import contact_sheet
from corpus.shards import Shards, evenly
from corpus.windows import Window, Windows, to_windows
from settings.errors import BadArtifact

KINDS = ("windows", "hu", "photos")


class Reject(NamedTuple):
    """A raw file that gave no image: the hash that stands for its name, the rule it broke, the reason in words."""

    id: str
    rule: str
    reason: str


class Images:
    """An image corpus opened for reading.

    `card` is its card, `index` its table (columns of every corpus: `id`), `shards.read(rows)` the pixels.
    """

    def __init__(self, folder: Path, *kinds: str) -> None:
        self.folder = folder
        self.card: dict[str, Any] = read_card(folder, *(kinds or KINDS))
        self.index: pa.Table = pq.read_table(folder / "index.parquet")
        self.shards = Shards(folder)
        if len(self.shards) != self.index.num_rows:
            raise BadArtifact(
                f"{folder}: {self.index.num_rows} index rows for {len(self.shards)} images; rerun its stage"
            )

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def side(self) -> int:
        """Height = width of an image in pixels."""
        return self.shards.row_shape[0]

    def column(self, name: str) -> list[Any]:
        """One column of the index as a list."""
        return list(self.index.column(name).to_pylist())

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Row numbers of the given ids, in their order; BadArtifact for an id that is not here."""
        place = {id_: row for row, id_ in enumerate(self.column("id"))}
        try:
            return np.array([place[id_] for id_ in ids], dtype=np.int64)
        except KeyError as error:
            raise BadArtifact(f"{self.folder}: has no image {error}; it and the split are of different data") from None

    def windows(self) -> Windows:
        """The three windows named on the card, as (level, width) in HU."""
        three = [Window(*pair) for pair in self.card["windows"]]
        return three[0], three[1], three[2]

    def read_windows(self, rows: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images as a classifier reads them (n×H×W×3 uint8): "hu" corpora through their windows, others as they are."""
        values = self.shards.read(rows)
        if self.card["kind"] != "hu":
            return values
        low, high = self.card["hu_range"]
        return to_windows(values, self.windows(), low, high)


def finish_images(
    folder: Path,
    kind: str,
    index: pa.Table,
    rejects: list[Reject],
    captions: Sequence[str] | Mapping[int, str] | None = None,
    **content: Any,
) -> None:
    """Write index, rejects, contact sheet and card beside shards that are already in `folder`.

    `captions`: by row of the index; needed for the rows that the contact sheet shows (`shown_rows`).
    `content` goes on the card beside `kind`, `count`, `rejected`, `side`, `channels`.
    """
    pq.write_table(index, folder / "index.parquet")
    write_rejects(folder / "rejects.csv", rejects)
    shards = Shards(folder)
    rows = shown_rows(len(shards))
    sheet = contact_sheet(shards.read(rows), [captions[r] for r in rows] if captions else None)
    sheet.save(folder / "contact.png")
    height, width, channels = shards.row_shape
    assert height == width, "corpora are square"
    write_card(folder, kind, count=len(shards), rejected=len(rejects), side=height, channels=channels, **content)


def shown_rows(count: int) -> list[int]:
    """Rows of a corpus of `count` images that its contact sheet shows: up to 64, spread evenly."""
    return evenly(count, 64).tolist()


def write_rejects(path: Path, rejects: list[Reject]) -> None:
    """`rejects.csv`: id, rule, reason; in order of id."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Reject._fields)
        writer.writerows(sorted(rejects))
