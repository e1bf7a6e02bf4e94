"""What a head reads: cached maps of frozen CNNs, or images for a pure ViT."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from torch import Tensor

from backbones.augment import to_input
from corpus.card import read_card
from corpus.images import Images
from corpus.shards import Shards
from settings.errors import BadArtifact

PREFIX = "maps"


class Inputs:
    """Folders of maps ("features", the same one may come twice), or one folder of images ("windows").

    Rows of all folders are of the same slices in the same order; BadArtifact otherwise, also where their grids differ.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        cards = [read_card(folder, "features", "windows") for folder in folders]
        self.images = Images(folders[0], "windows") if cards[0]["kind"] == "windows" else None
        if self.images and len(folders) > 1:
            raise BadArtifact(f"{folders[1]}: a head reads images or maps, not both")
        ids = [pq.read_table(folder / "index.parquet", columns=["id"]).column("id") for folder in folders]
        for folder, card, column in zip(folders, cards, ids, strict=True):
            if not column.equals(ids[0]):
                raise BadArtifact(f"{folder}: has other slices than {folders[0]}, or in another order; run `dvc repro`")
            if card.get("grid") != cards[0].get("grid"):
                raise BadArtifact(
                    f"{folder}: a grid of {card['grid']} cannot be concatenated with {cards[0]['grid']}; "
                    "give their CNNs one side and stage"
                )
        self._ids = ids[0]
        # The same folder twice is read once.
        self._distinct = list(dict.fromkeys(folders))
        self._order = [self._distinct.index(folder) for folder in folders]
        self._maps = [] if self.images else [Shards(folder, PREFIX) for folder in self._distinct]
        self.sources: list[dict[str, Any]]  # for the card: CNN, channels, grid of each
        if self.images:
            side = self.images.side
            self.sources = [{"cnn": None, "channels": 3, "grid": [side, side]}]
        else:
            self.sources = [{key: card[key] for key in ("cnn", "channels", "grid")} for card in cards]

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows of slices, in the order of their ids; BadArtifact for one that is not here."""
        place = {id_: row for row, id_ in enumerate(self._ids.to_pylist())}
        try:
            return np.array([place[id_] for id_ in ids], dtype=np.int64)
        except KeyError as error:
            raise BadArtifact(f"{self._distinct[0]}: has no slice {error}; run `dvc repro`") from None

    def read(self, rows: npt.NDArray[np.int64]) -> list[Tensor]:
        """From disk, one tensor a distinct folder: maps (n×C×h×w fp16) or images (n×H×W×3 uint8)."""
        if self.images:
            return [torch.from_numpy(self.images.read_windows(rows))]
        return [torch.from_numpy(shards.read(rows)) for shards in self._maps]

    def on_device(self, batch: list[Tensor], device: torch.device) -> list[Tensor]:
        """What `read` gave as the head takes it: one float tensor (n×C×h×w) for each folder, repeats included."""
        there = [part.to(device, non_blocking=True) for part in batch]
        if self.images:
            return [to_input(there[0], self.images.side)]
        floats = [part.float() for part in there]
        return [floats[i] for i in self._order]
