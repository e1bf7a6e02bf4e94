"""What a head reads: maps or logits of frozen CNNs, cached or made as they are asked for, or images for a pure ViT."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from torch import Tensor

from backbones.augment import random_views, to_input
from backbones.features import LOGITS, MAPS, load_frozen, look
from corpus.card import read_card
from corpus.images import Images
from corpus.shards import Shards
from settings.errors import BadArtifact, BadParameter
from training.precision import Decisions


class Views(Protocol):
    """How random views of slices are drawn; see `random_views`."""

    rotate: float
    shift: float
    flip: bool


class Inputs:
    """Folders of frozen CNNs ("features", the same one may come twice), or one folder of images ("windows").

    `logits`: read the CNNs' logits instead of their maps. `images`: the folder of slices of a side, asked for CNNs
    whose maps are not cached; these must see slices of one side, so that they see the same random view. Rows of all
    folders are of the same slices in the same order; BadArtifact otherwise, also for a CNN without CT labels whose
    logits are wanted.
    """

    def __init__(
        self, folders: Sequence[Path], logits: bool = False, images: Callable[[int], Path] | None = None
    ) -> None:
        cards = [read_card(folder, "features", "windows") for folder in folders]
        tables = [pq.read_table(folder / "index.parquet") for folder in folders]
        for folder, table in zip(folders, tables, strict=True):
            if not table.column("id").equals(tables[0].column("id")):
                raise BadArtifact(f"{folder}: has other slices than {folders[0]}, or in another order; run `dvc repro`")
        self._index = tables[0]
        # The same folder twice is read once.
        self._distinct = list(dict.fromkeys(folders))
        self._order = [self._distinct.index(folder) for folder in folders]
        self._logits = logits
        self.images: Images | None = None  # where random views are possible
        self._cnns: list[torch.nn.Module] = []
        self._shards: list[Shards] = []
        self.sources: list[dict[str, Any]]  # for the card: of each its CNN, that one's weights, channels, grid
        self.windows: list[list[float]] = cards[0]["windows"]  # for the card: level and width of three, in HU
        if cards[0]["kind"] == "windows":
            if len(folders) > 1:
                raise BadArtifact(f"{folders[1]}: a head reads images or maps, not both")
            self.images = Images(folders[0], "windows")
            side = self.images.side
            self.sources = [{"cnn": None, "channels": 3, "grid": [side, side]}]
            return
        for folder, card in zip(folders, cards, strict=True):
            if "weights" not in card:
                raise BadArtifact(f"{folder}: its card does not say with which weights it was made; run `dvc repro`")
            if logits and not card["labels"]:
                raise BadArtifact(
                    f"{folder}: its CNN saw no CT labels, so it has no logits to average; take it out of the variant, "
                    "or train it on CT"
                )
        self.sources = [
            {"cnn": card["cnn"], "weights": card["weights"], "channels": len(card["labels"]), "grid": [1, 1]}
            if logits
            else {key: card[key] for key in ("cnn", "weights", "channels", "grid")}
            for card in cards
        ]
        if all(card["cached"] for card in cards):
            self._shards = [Shards(folder, LOGITS if logits else MAPS) for folder in self._distinct]
            return
        sides = {card["side"] for card in cards}
        if images is None or len(sides) > 1:
            raise BadParameter(
                f"extract_features.cache: CNNs of sides {sorted(sides)} see no common view of a slice; "
                "set it to true, or give the variant's CNNs one side"
            )
        self.images = Images(images(sides.pop()), "windows")
        if not self.images.index.column("id").equals(self._index.column("id")):
            raise BadArtifact(f"{self.images.folder}: has other slices than {folders[0]}; run `dvc repro`")
        self._cnns = [load_frozen(folder)[0] for folder in self._distinct]

    def rows_of(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Rows of slices, in the order of their ids; BadArtifact for one that is not here."""
        place = {id_: row for row, id_ in enumerate(self._index.column("id").to_pylist())}
        try:
            return np.array([place[id_] for id_ in ids], dtype=np.int64)
        except KeyError as error:
            raise BadArtifact(f"{self._distinct[0]}: has no slice {error}; run `dvc repro`") from None

    def places(self) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Of every row its series, and its position in mm along the slice normal."""
        return self._index.column("series").to_pylist(), self._index.column("position").to_numpy()

    def read(self, rows: npt.NDArray[np.int64]) -> list[Tensor]:
        """From disk: images (n×H×W×3 uint8), or of each distinct folder maps (n×C×h×w fp16) or logits (n×6)."""
        if self.images:
            return [torch.from_numpy(self.images.read_windows(rows))]
        return [torch.from_numpy(shards.read(rows)) for shards in self._shards]

    def on_device(
        self,
        batch: list[Tensor],
        device: torch.device,
        decisions: Decisions,
        views: Views | None = None,
        series: Tensor | None = None,
    ) -> list[Tensor]:
        """What `read` gave as the head takes it: one float tensor (n×C×h×w) for each folder, repeats included.

        With `views` images are seen in random views (nothing is drawn where they leave no choice), those of one of
        `series` (n, int64, from 0) in the same; cached maps are as they are. Frozen CNNs run here.
        """
        there = [part.to(device, non_blocking=True) for part in batch]
        if self.images:
            side = self.images.side
            there = [
                random_views(there[0], side, rotate=views.rotate, shift=views.shift, flip=views.flip, of=series)
                if views and (views.rotate or views.shift or views.flip)
                else to_input(there[0], side)
            ]
            if not self._cnns:
                return there
            seen = [
                look(cnn.to(device, memory_format=decisions.memory_format), there[0], decisions)  # type: ignore[call-overload]
                for cnn in self._cnns
            ]
            there = [answers if self._logits and answers is not None else maps for maps, answers in seen]
        floats = [part.float().reshape(*part.shape, *(1, 1)[: 4 - part.ndim]) for part in there]
        return [floats[i] for i in self._order]
