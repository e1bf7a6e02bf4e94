"""control-corpus@<corpus>: what stands beside the translated corpus in the audit, and what a CNN may start from.

Same form, side, ids, order and parts as artifacts/translated. Restyling reads train patients' slices and no label.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import torch

from corpus.derive import Batch, Pixels, collect, derive
from corpus.images import Images
from corpus.sharing import Share
from corpus.windows import hu_range, parse_windows
from gan.crops import cut, oversampling, random_views, tissue_views, to_signed
from gan.generate import generate
from gan.parameters import GanGenerate
from gan.samples import to_levels
from photos import controls
from photos.parameters import Corpus, Fourier, Grey, Histogram, Permuted, Untrained, read_corpus
from settings.errors import BadArtifact
from settings.loader import read_value
from stages.compute import accelerate
from stages.run import Job

if TYPE_CHECKING:
    from accelerate import Accelerator

BATCH = 64  # photos at once; each is made alone, so it changes nothing
SLICES = 32  # at once


def run(job: Job) -> None:
    corpus = read_corpus(job.parameters["corpora"][job.key], f"corpora.{job.key}")
    out = job.out(f"artifacts/controls/{job.key}")
    accelerator, decisions = accelerate(job)
    if isinstance(corpus, Permuted):
        if accelerator.is_main_process:
            controls.permute_corpus(job.input("artifacts/translated"), _seed(job, corpus.seed), out)
        accelerator.wait_for_everyone()
    elif isinstance(corpus, Untrained):
        generate(
            job.input("artifacts/gan"),
            job.input("artifacts/photos"),
            job.section(GanGenerate, "gan_generate"),
            job.work,
            out,
            accelerator,
            decisions,
            untrained=_seed(job, corpus.seed),
            who=job.name,
        )
    else:
        _restyle(job, corpus, accelerator)
    accelerator.print(f"{job.name}: done, {corpus.kind}")


def _restyle(job: Job, corpus: Corpus, accelerator: "Accelerator") -> None:
    """Grey photos, and what is made of them without learning."""
    photos = Images(job.input("artifacts/photos"), "photos")
    side = read_value(int | None, job.parameters["gan_generate"]["side"], "gan_generate.side") or photos.side
    content: dict[str, Any] = {}
    if isinstance(corpus, Grey):
        windows = parse_windows(job.parameters["windows"])
        content = {"hu_range": list(hu_range(windows)), "windows": [list(window) for window in windows]}
        views, seed = np.empty(0, np.uint8), 0
    else:
        assert isinstance(corpus, Histogram | Fourier)
        slices = Images(job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"), "hu")
        content = {key: slices.card[key] for key in ("hu_range", "windows")}
        seed = _seed(job, corpus.seed)
        views = _ct_views(job, slices, corpus.crops, side, seed)
    ids, shares = photos.column("id"), controls.level_shares(views) if len(views) else np.empty(0)

    def make(batches: Iterator[Batch]) -> Iterator[Pixels]:
        for rows, pixels in batches:
            images = controls.grey(pixels, side)
            if isinstance(corpus, Histogram):
                images = controls.match_histogram(images, shares)
            elif isinstance(corpus, Fourier):
                chosen = controls.choose_views([ids[row] for row in rows], len(views), seed)
                images = controls.swap_amplitude(images, views[chosen], corpus.low_frequencies)
            yield images

    share = Share(accelerator.process_index, accelerator.num_processes)
    ranges = derive(photos, (side, side, 1), make, BATCH, job.work, share, job.name)
    if accelerator.is_main_process:
        collect(photos, job.work, ranges, job.out(f"artifacts/controls/{job.key}"), "hu", **content)
    accelerator.wait_for_everyone()


def _ct_views(job: Job, slices: Images, count: int, side: int, seed: int) -> Pixels:
    """Views of train patients' slices as the translator is shown them (gan_train.ct_*), n×side×side×1."""
    p = job.parameters["gan_train"]
    ids = pq.read_table(job.input("artifacts/split/train-ids.parquet"), columns=["id"]).column("id").to_pylist()
    rows = np.sort(slices.rows_of(ids))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]
    found = []
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(rows), SLICES):
            images = to_signed(torch.from_numpy(slices.shards.read(rows[start : start + SLICES])))
            if p["ct_view"] == "crops":
                views, share = tissue_views(images, p["ct_tissue"], p["ct_zoom"], p["ct_rotate"], p["ct_flip"])
                enough = (share >= p["ct_tissue"]).numpy()
            else:
                views = random_views(len(images), (1.0, 1.0), p["ct_rotate"], p["ct_flip"], images.device)
                enough = np.ones(len(images), bool)
            found.append(to_levels(cut(images, views, side, oversampling(slices.side, side, 1.0)))[enough])
    if not any(map(len, found)):
        raise BadArtifact(f"{slices.folder}: no train slice has a crop with gan_train.ct_tissue of tissue; lower it")
    return np.concatenate(found)


def _seed(job: Job, own: int) -> int:
    return read_value(int, job.parameters["seed"], "seed") + own
