"""The head: maps of frozen CNNs side by side (or an image), cut into tokens, encoded, classified.

Barhoumi & Rasool, "Scopeformer" (arXiv 2107.04575), figure 1: n maps of 7×7×1024 → 7×7×(n·1024) → ViT → MLP head.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.cost import cost
from backbones.feature_cnn import load_weights
from corpus.card import read_card
from settings.errors import BadArtifact, BadParameter
from training.precision import Decisions
from training.ranks import gather_rows, my_rows
from vit.baselines import MeanLogits, PooledLinear
from vit.encoder import AnyHead, Encoder
from vit.inputs import Inputs
from vit.parameters import Shape, Vit
from vit.sequence import SequenceHead, Slots, arrange, chunks, series_rows

if TYPE_CHECKING:
    from accelerate import Accelerator


class Head(AnyHead):
    """Maps (each N×C_i×h×w float) → logits (N×outputs).

    `channels`: C_i of each. `grid`: h×w that tokens are cut from; maps of another are resampled to it. `projection`:
    width of a 1×1 convolution on each map before they are concatenated (the paper's small model: 128), or None.
    `patch`: positions along each axis that make one token; BadParameter unless it divides the grid.
    """

    def __init__(
        self,
        channels: Sequence[int],
        grid: tuple[int, int],
        patch: int,
        projection: int | None,
        vit: Vit,
        outputs: int,
    ) -> None:
        super().__init__()
        if grid[0] % patch or grid[1] % patch:
            raise BadParameter(f"patch: {patch} does not divide the grid {grid[0]}×{grid[1]}; choose one that does")
        self.projections = nn.ModuleList(nn.Conv2d(c, projection, 1) for c in channels) if projection else None
        self.channels = projection * len(channels) if projection else sum(channels)
        self.grid, self.width = grid, vit.dim
        self.embed = nn.Conv2d(self.channels, vit.dim, patch, stride=patch)
        self.encoder = Encoder(grid[0] // patch * (grid[1] // patch), vit)
        self.undecayed = tuple(f"encoder.{name}" for name in self.encoder.undecayed)
        self.classify = nn.Sequential(
            nn.Linear(vit.dim, vit.dim), nn.GELU(), nn.Dropout(vit.dropout), nn.Linear(vit.dim, outputs)
        )

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [self._resampled(part) for part in maps]
        if self.projections:
            parts = [project(part) for project, part in zip(self.projections, parts, strict=True)]
        tokens = self.embed(torch.cat(parts, dim=1)).flatten(2).transpose(1, 2)
        logits: Tensor = self.classify(self.encoder(tokens))
        return logits

    def _resampled(self, part: Tensor) -> Tensor:
        if part.shape[2:] == self.grid:
            return part
        return functional.interpolate(part, self.grid, mode="bilinear", antialias=True, align_corners=False)


def build_head(sources: Sequence[dict[str, Any]], shape: Shape, vit: Vit, outputs: int) -> AnyHead:
    """A head for inputs as `Inputs.sources` and the card describe them; BadParameter where maps' grids do not fit."""
    channels = [source["channels"] for source in sources]
    head: AnyHead
    if shape.encoder == "mean-logits":
        return MeanLogits(channels)
    if shape.encoder == "linear":
        head = PooledLinear(channels, outputs)
    else:
        head = Head(channels, shape.grid or _common_grid(sources), shape.patch, shape.projection, vit, outputs)
    return SequenceHead(head, shape.context, outputs) if shape.context else head


def _common_grid(sources: Sequence[dict[str, Any]]) -> tuple[int, int]:
    grids = list(dict.fromkeys(tuple(source["grid"]) for source in sources))
    if len(grids) > 1:
        words = ", ".join(f"{source['cnn']} {source['grid'][0]}×{source['grid'][1]}" for source in sources)
        raise BadParameter(
            f"grid: maps of different grids cannot be concatenated ({words}); "
            "give their CNNs one side and stage, or name the variant's grid to resample them to"
        )
    return grids[0]


def head_cost(head: AnyHead, sources: Sequence[dict[str, Any]], shape: Shape) -> dict[str, int]:
    """`parameters` of a head, and its `flops` for one slice (two a multiply-add)."""
    count = shape.context.length if shape.context else 1
    maps = [torch.zeros(count, source["channels"], *source["grid"], device="meta") for source in sources]
    one = (np.arange(count),)
    slots = [part.to("meta") for part in arrange(one, np.zeros(count, np.float32))[1]] if shape.context else []
    found = cost(head, *maps, *slots)
    return {**found, "flops": found["flops"] // count}


def load_head(folder: Path) -> tuple[AnyHead, dict[str, Any]]:
    """A head rebuilt from its artifact alone, in evaluation mode, and its card."""
    card = read_card(folder, "head")
    head = build_head(card["inputs"], Shape(**card["shape"]), Vit(**card["vit"]), len(card["labels"]))
    load_weights(head, folder)
    return head.eval(), card


def open_head(
    folder: Path, sources: Sequence[Path], images: Callable[[int], Path] | None = None
) -> tuple[AnyHead, Inputs]:
    """The head in `folder`, and what it reads; see `predict`."""
    head, card = load_head(folder)
    inputs = Inputs(sources, Shape(**card["shape"]).encoder == "mean-logits", images)
    if inputs.sources != card["inputs"]:
        raise BadArtifact(
            f"{folder}: was trained on {_words(card['inputs'])}, got {_words(inputs.sources)}; run `dvc repro`"
        )
    return head, inputs


def _words(sources: Sequence[dict[str, Any]]) -> str:
    """For a message: of each source CNN, start of its weights' SHA-256, and h×w×C."""
    return " + ".join(
        f"{one['cnn'] or 'images'} {one.get('weights', '')[:8]} {'×'.join(map(str, one['grid']))}×{one['channels']}"
        for one in sources
    )


def predict_logits(
    head: nn.Module,
    inputs: Inputs,
    rows: npt.NDArray[np.int64],
    batch: int,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> npt.NDArray[np.float32]:
    """Logits (n×outputs) of rows, in evaluation mode, `batch` at once over all ranks; every rank gets them all.

    A head with context sees the whole series of each row, whichever of its slices are asked for.
    """
    head.eval()
    each = max(1, batch // accelerator.num_processes)

    def answer(some: npt.NDArray[np.int64], slots: Sequence[Tensor] = ()) -> Tensor:
        x = inputs.on_device(inputs.read(some), accelerator.device, decisions)
        with torch.inference_mode(), decisions.autocast():
            found: Tensor = head(*x, *slots)
        return found.float()

    if isinstance(head, SequenceHead):
        return _in_series(answer, head.outputs, inputs, rows, each, accelerator)
    mine = rows[my_rows(len(rows), accelerator)]
    parts = [answer(mine[start : start + each]) for start in range(0, len(mine), each)]
    return gather_rows(torch.cat(parts), len(rows), accelerator)


def _in_series(
    answer: Callable[[npt.NDArray[np.int64], Slots], Tensor],
    outputs: int,
    inputs: Inputs,
    rows: npt.NDArray[np.int64],
    each: int,
    accelerator: "Accelerator",
) -> npt.NDArray[np.float32]:
    """`answer` for the whole series of the rows, every ranks-th on each rank; of it the rows."""
    series, position = inputs.places()
    wanted = np.isin(np.arange(len(position)), rows)
    whole = [one for one in series_rows(series, position) if wanted[one].any()]
    found = torch.zeros(len(position), outputs)
    for some in chunks(whole[accelerator.process_index :: accelerator.num_processes], each):
        at, slots = arrange(some, position)
        found[torch.from_numpy(at)] = answer(at, slots.to(accelerator.device)).cpu()
    total: Tensor = accelerator.reduce(found[torch.from_numpy(rows)].to(accelerator.device), "sum")
    return total.cpu().numpy()


def predict(
    folder: Path,
    sources: Sequence[Path],
    rows: npt.NDArray[np.int64],
    accelerator: "Accelerator",
    decisions: Decisions,
    batch: int,
    images: Callable[[int], Path] | None = None,
) -> npt.NDArray[np.float32]:
    """Logits (n×6, LABELS) of the head in `folder` for rows of its sources, in the order of its CNNs, or images.

    `images`: the slices of a side, for CNNs whose maps are not cached. Raises BadArtifact when the sources are not
    those that the head was trained on.
    """
    head, inputs = open_head(folder, sources, images)
    return predict_logits(head.to(accelerator.device), inputs, rows, batch, accelerator, decisions)
