"""Training data of the translator, and the training itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from corpus.card import write_card
from corpus.images import Images
from gan import crops
from gan.networks import BACK, FORWARD, save_generator
from gan.parameters import GanTrain
from gan.translator import Translator
from gan.validation import Extract, Kid, Scanner, Validation, sample_name
from gan.watch import History
from settings.errors import BadArtifact, BadParameter
from training.batches import IndexSampler
from training.loop import Curves, Run, train
from training.precision import Decisions

if TYPE_CHECKING:
    from accelerate import Accelerator

Batch = tuple[Tensor, Tensor, Tensor]  # photos, slices or CT views, the photos' class numbers


@dataclass(frozen=True)
class Sources:
    """What the translator reads: rows of a photo corpus and rows of a one-channel CT corpus.

    Trained on: train photos and train patients alone. KID alone sees held-out photos and val patients.
    """

    photos: Images
    photo_rows: npt.NDArray[np.int64]
    held_out_rows: npt.NDArray[np.int64]
    ct: Images
    ct_rows: npt.NDArray[np.int64]
    val_rows: npt.NDArray[np.int64]

    @property
    def scanner(self) -> Scanner:
        """How the CT corpus reads."""
        low, high = self.ct.card["hu_range"]
        return Scanner(self.ct.windows(), (float(low), float(high)))

    def val_patients(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """Whose slices these rows of the CT corpus are."""
        owners = self.ct.column("patient")
        return [owners[row] for row in rows]


def open_sources(
    photos: Path, ct: Path, train_ids: Sequence[str], val_ids: Sequence[str], parameters: GanTrain
) -> Sources:
    """Open both corpora and choose their rows: photos of the part "train" and held-out ones, slices of train patients
    and of val's.

    Raises BadParameter when a corpus is too small in pixels for `gan_train.side`: what zoom shows must have been
    stored, BadArtifact when a train part is empty. For crops, slices with too little tissue for any crop are left out.
    """
    images, slices = Images(photos, "photos"), Images(ct, "hu")
    wanted = parameters.side * (2 if parameters.ct_view == "crops" else 1)
    if slices.side < wanted:
        raise BadParameter(
            f"gan_train.side: {parameters.side} px needs slices of {wanted} px (ct_view: {parameters.ct_view}), "
            f"prepare_ct.hu_side is {slices.side}; raise hu_side or lower side"
        )
    if images.side < parameters.side:
        raise BadParameter(
            f"gan_train.side: {parameters.side} px is more than photos have ({images.side}); raise prepare_photos.side"
        )
    part = np.array(images.column("part"))
    photo_rows, held_out_rows = np.flatnonzero(part == "train"), np.flatnonzero(part == "val")
    ct_rows, val_rows = slices.rows_of(train_ids), slices.rows_of(val_ids)
    if parameters.ct_view == "crops":
        # The smallest crop is 1/zoom² of the slice, and a share of it must be tissue.
        share = parameters.ct_tissue / parameters.ct_zoom[1] ** 2
        ct_rows, val_rows = (_with_tissue(slices, rows, share) for rows in (ct_rows, val_rows))
    for rows, where in ((photo_rows, photos), (ct_rows, ct)):
        if not len(rows):
            raise BadArtifact(f"{where}: has no image of the train part; check the split's shares and rerun its stage")
    return Sources(images, photo_rows, held_out_rows, slices, ct_rows, val_rows)


class Feed:
    """Batches for the translator: unpaired rows from disk, views cut on the device."""

    def __init__(
        self, sources: Sources, parameters: GanTrain, seed: int, rank: int, ranks: int, device: torch.device
    ) -> None:
        self.sources, self.parameters, self.device = sources, parameters, device
        self.labels = np.array(sources.photos.column("label"), dtype=np.int64)
        # Two orders, so that a photo does not meet the same slice in every pass.
        self.photo_order = IndexSampler(len(sources.photo_rows), parameters.batch, seed, rank, ranks)
        self.ct_order = IndexSampler(len(sources.ct_rows), parameters.batch, seed + 1, rank, ranks)

    def read(self, images_seen: int) -> Batch:
        """This rank's photos (n×H×W×3) and slices (n×H×W×1), uint8, and the photos' class numbers, from disk."""
        s = self.sources
        return self._batch(s.photo_rows[self.photo_order.rows(images_seen)], s.ct_rows[self.ct_order.rows(images_seen)])

    def views(self, batch: Batch) -> Batch:
        """Random views of photos and slices, each n×`channels`×side×side in -1…1 on the device.

        One channel: luminance and HU; three: RGB and the three windows.
        """
        p = self.parameters
        photos = crops.photo_input(batch[0].to(self.device, non_blocking=True), p.channels)
        slices = crops.to_signed(batch[1].to(self.device, non_blocking=True))
        photo_views = crops.random_views(len(photos), p.photo_zoom, 0.0, p.photo_flip, self.device)
        if p.ct_view == "crops":
            ct_views, _ = crops.tissue_views(slices, p.ct_tissue, p.ct_zoom, p.ct_rotate, p.ct_flip)
        else:
            ct_views = crops.random_views(len(slices), (1.0, 1.0), p.ct_rotate, p.ct_flip, self.device)
        shown = crops.cut(photos, photo_views, p.side, crops.oversampling(photos.shape[-1], p.side, p.photo_zoom[0]))
        cts = crops.cut(slices, ct_views, p.side, crops.oversampling(slices.shape[-1], p.side, 1.0))
        if p.channels == 3:
            cts = crops.windowed(cts, *self.sources.scanner)
        return shown, cts, batch[2].to(self.device, non_blocking=True)

    def train_views(self, batch: Batch) -> Batch:
        """`views`, dithered: a blank one would end the training."""
        photos, cts, labels = self.views(batch)
        return crops.dithered(photos), crops.dithered(cts), labels

    def fixed(
        self, photo_rows: npt.NDArray[np.int64], ct_rows: npt.NDArray[np.int64], seed: int
    ) -> tuple[Tensor, Tensor]:
        """Views of these rows, cut like those for training, the same whenever and wherever it is called."""
        torch.manual_seed(seed)  # the loop seeds each step itself
        photos, cts, _ = self.views(self._batch(photo_rows, ct_rows))
        return photos, cts

    def _batch(self, photo_rows: npt.NDArray[np.int64], ct_rows: npt.NDArray[np.int64]) -> Batch:
        s = self.sources
        photos, slices = s.photos.shards.read(photo_rows), s.ct.shards.read(ct_rows)
        return torch.from_numpy(photos), torch.from_numpy(slices), torch.from_numpy(self.labels[photo_rows])


def spread(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """`count` of the rows, spread evenly; some of them twice where there are fewer."""
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _with_tissue(slices: Images, rows: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """Those of the rows whose slice is tissue in at least `share` of its pixels (every fourth along each axis)."""
    at_once = 512
    kept = []
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        coarse = slices.shards.read(some)[:, ::4, ::4, 0]
        kept.append(some[(coarse / 127.5 - 1 > crops.AIR).mean((1, 2)) >= share])
    return np.concatenate(kept) if kept else rows


def make_translator(
    sources: Sources,
    parameters: GanTrain,
    run: Run,
    accelerator: "Accelerator",
    decisions: Decisions,
    extract: Extract | None = None,
    classifier: Callable[[Tensor], Tensor] | None = None,
) -> Translator:
    """The task that `train_translator` trains. Without `extract`, or with too few images for it, there is no KID."""
    feed = Feed(sources, parameters, run.seed, accelerator.process_index, accelerator.num_processes, accelerator.device)
    photo_rows, ct_rows = (spread(of, parameters.samples) for of in (sources.photo_rows, sources.ct_rows))
    fixed = feed.fixed(photo_rows, ct_rows, run.seed)
    assert fixed[0].shape[1] == fixed[1].shape[1] == parameters.channels, "both domains have the same channels"
    look = Validation(
        *fixed,
        parameters, sources.scanner, make_kid(feed, run.seed, extract) if extract else None,
        run, accelerator, decisions,
    )  # fmt: skip

    def judge(translated: Tensor) -> Tensor:
        """What the classifier, which reads three windows, says of translations."""
        assert classifier is not None
        one = translated.shape[1] == 1
        return classifier(crops.windowed(translated, *sources.scanner) if one else translated)

    return Translator(
        parameters, run.seed, accelerator, decisions, feed.read, feed.train_views, look, judge if classifier else None
    )


def make_kid(feed: Feed, seed: int, extract: Extract) -> Kid | None:
    """KID of held-out photos to val patients, at most `gan_train.watch.kid` of each; None for fewer than two."""
    sources, most = feed.sources, feed.parameters.watch.kid
    photo_rows, val_rows = (spread(of, min(most, len(of))) for of in (sources.held_out_rows, sources.val_rows))
    if min(len(photo_rows), len(val_rows)) < 2:
        return None
    photos, cts = feed.fixed(photo_rows, val_rows, seed)
    return Kid(photos, cts, sources.val_patients(val_rows), feed.parameters.batch, sources.scanner, extract)


def train_translator(
    sources: Sources,
    parameters: GanTrain,
    run: Run,
    out: Path,
    accelerator: "Accelerator",
    decisions: Decisions,
    extract: Extract | None = None,
    classifier: Callable[[Tensor], Tensor] | None = None,
) -> Curves:
    """Train and, on the main process, write the artifact: averaged generators, curves, warnings, sample grids, card.

    `extract`: features for KID of images in three windows. `classifier`: logits of photos' classes for n×3×H×W in -1…1
    (the three windows), differentiable; for `consistency`.
    """
    task = make_translator(sources, parameters, run, accelerator, decisions, extract, classifier)
    curves = train(task, run, accelerator, decisions)
    if accelerator.is_main_process:
        averaged = task.averaged.module
        save_generator(averaged.to_ct, out / FORWARD)
        save_generator(averaged.to_photo, out / BACK)
        curves.write(out)
        History(**task.look.state()).write(out / "warnings.csv")
        for row in curves.validation:
            name = sample_name(int(row["images"]))
            (out / name).write_bytes((run.work / name).read_bytes())
        write_card(out, "translator", **_content(sources, parameters, curves))
    accelerator.wait_for_everyone()
    return curves


def _content(sources: Sources, parameters: GanTrain, curves: Curves) -> dict[str, Any]:
    return {
        "generator": {
            "filters": parameters.ngf,
            "blocks": parameters.blocks,
            "channels": parameters.channels,
            "upsampling": parameters.upsampling,
        },
        "side": parameters.side,
        "hu_range": sources.ct.card["hu_range"],
        "windows": sources.ct.card["windows"],
        "photos": len(sources.photo_rows),
        "slices": len(sources.ct_rows),
        "images": int(curves.training[-1]["images"]),
        "figures": {name: round(value, 4) for name, value in curves.validation[-1].items() if name != "images"},
    }
