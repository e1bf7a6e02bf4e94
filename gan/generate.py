"""Every photo through the translator: a corpus of the same photos, parts and labels in Hounsfield units.

Nothing is drawn at random: what becomes of a photo depends on it and on the translator's weights alone, whatever the
number of processes. (For control-corpus the weights are drawn, from a seed.)
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from corpus.derive import Batch, Pixels, collect, derive
from corpus.images import Images
from corpus.sharing import Share
from gan.crops import luminance
from gan.networks import Generator, load_generator
from gan.parameters import GanGenerate
from gan.samples import levels
from settings.errors import BadParameter
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator


def generate(
    translator: Path,
    photos: Path,
    parameters: GanGenerate,
    work: Path,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
    untrained: int | None = None,
    who: str = "gan-generate",
) -> int:
    """Translate every photo; returns their number. Every rank takes every ranks-th shard, the main process finishes.

    Shards are written to `work`, where a killed run left those that are whole, and linked into `out`. `untrained`: a
    seed, from which weights are drawn in place of the translator's.
    """
    generator, card = load_generator(translator)
    if untrained is not None:
        torch.manual_seed(untrained)
        generator = Generator(**card["generator"]).eval()
    corpus = Images(photos, "photos")
    side = parameters.side or corpus.side
    if side % 4:
        raise BadParameter(f"gan_generate.side: photos have {side} px, no multiple of 4; name a side that is one")
    generator.to(accelerator.device)
    share = Share(accelerator.process_index, accelerator.num_processes)
    made = partial(translations, generator, side, decisions)
    ranges = derive(corpus, (side, side, 1), made, parameters.batch, work, share, who)
    if accelerator.is_main_process:
        collect(corpus, work, ranges, out, "hu", hu_range=card["hu_range"], windows=card["windows"])
    accelerator.wait_for_everyone()
    return len(corpus)


def translations(generator: Generator, side: int, decisions: Decisions, batches: Iterator[Batch]) -> Iterator[Pixels]:
    """`translate` of each batch. On a GPU one batch computes while the one before is copied back and handed on."""
    device = next(generator.parameters()).device
    if device.type != "cuda":
        for batch in batches:
            yield translate(generator, torch.from_numpy(batch.pixels), side, decisions).numpy()
        return
    waiting: tuple[Tensor, torch.cuda.Event] | None = None
    for batch in batches:
        photos = torch.from_numpy(batch.pixels).pin_memory().to(device, non_blocking=True)
        there = translate(generator, photos, side, decisions)
        here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
        here.copy_(there, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        if waiting:
            yield _when_copied(*waiting)
        waiting = here, copied
    if waiting:
        yield _when_copied(*waiting)


def translate(generator: Generator, photos: Tensor, side: int, decisions: Decisions) -> Tensor:
    """Photos (n×H×W×3 uint8) → translated (n×side×side×1 uint8, linear over the translator's HU range), same device."""
    with torch.inference_mode():
        images = luminance(photos)
        if images.shape[-1] != side:
            images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        with decisions.autocast():
            return levels(generator(images)).contiguous()


def _when_copied(pixels: Tensor, copied: torch.cuda.Event) -> Pixels:
    copied.synchronize()
    return pixels.numpy()
