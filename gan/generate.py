"""Every photo through the translator: a corpus of the same photos, parts and labels in Hounsfield units."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from corpus.images import Images, finish_images
from corpus.shards import link, rows_per_shard, shard_path, shard_ranges, write_shard
from gan.crops import photo_input
from gan.networks import Generator, load_generator
from gan.parameters import GanGenerate
from gan.samples import to_levels
from settings.errors import BadArtifact, BadParameter
from settings.places import require_space
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

SHARDS = 16  # at least so many where there are photos for them: ranks share shards out, whatever their number


def generate(
    translator: Path,
    photos: Path,
    parameters: GanGenerate,
    work: Path,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
) -> int:
    """Translate every photo; returns their number. Every rank takes every ranks-th shard, the main process finishes.

    Shards are written to `work`, where a killed run left those that are whole, and linked into `out`. Nothing is
    drawn at random: what becomes of a photo depends on it and on the translator alone.
    """
    generator, card = load_generator(translator)
    corpus = Images(photos, "photos")
    side = parameters.side or corpus.side
    if side % 4:
        raise BadParameter(f"gan_generate.side: photos have {side} px, no multiple of 4; name a side that is one")
    row_bytes = side * side * generator.channels
    ranges = shard_ranges(len(corpus), rows_per_shard(row_bytes, len(corpus), SHARDS))
    if accelerator.is_main_process:
        require_space(work, len(corpus) * row_bytes)
    generator.to(accelerator.device)
    for number, (start, stop) in enumerate(ranges):
        mine = number % accelerator.num_processes == accelerator.process_index
        if mine and not shard_path(work, number).exists():
            batches = [np.arange(at, min(at + parameters.batch, stop)) for at in range(start, stop, parameters.batch)]
            images = [translate(generator, corpus.shards.read(rows), side, decisions) for rows in batches]
            write_shard(work, number, np.concatenate(images))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for number in range(len(ranges)):
            link(shard_path(work, number), shard_path(out, number))
        check_classes(corpus, out, ranges)
        names = [str(name) for name in corpus.card.get("class_names", corpus.card["classes"])]
        finish_images(
            out,
            "hu" if generator.channels == 1 else "windows",
            corpus.index,
            [],
            [names[label] for label in corpus.column("label")],
            hu_range=card["hu_range"],
            windows=card["windows"],
            **{key: corpus.card[key] for key in ("classes", "class_names") if key in corpus.card},
        )
    accelerator.wait_for_everyone()
    return len(corpus)


def translate(
    generator: Generator, photos: npt.NDArray[np.uint8], side: int, decisions: Decisions
) -> npt.NDArray[np.uint8]:
    """Photos (n×H×W×3 uint8) → translated (n×side×side×C uint8): linear over the HU range, or the three windows."""
    device = next(generator.parameters()).device
    with torch.inference_mode():
        images = photo_input(torch.from_numpy(photos).to(device), generator.channels)
        if images.shape[-1] != side:
            images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        with decisions.autocast():
            return to_levels(generator(images))


def check_classes(corpus: Images, out: Path, ranges: list[tuple[int, int]]) -> None:
    """BadArtifact unless every class has as many translated images as photos."""
    labels = corpus.column("label")
    there: Counter[int] = Counter()
    for number, (start, _) in enumerate(ranges):
        rows = len(np.load(shard_path(out, number), mmap_mode="r", allow_pickle=False))
        there.update(labels[start : start + rows])
    expected = Counter(labels)
    if there != expected:
        label = next(label for label in sorted(expected | there) if there[label] != expected[label])
        raise BadArtifact(
            f"translated corpus: class {corpus.card['classes'][label]} has {there[label]} images for "
            f"{expected[label]} photos; delete the stage's folder under work/ and run it again"
        )
