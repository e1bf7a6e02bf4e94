"""What is audited, gathered from artifacts: photos, what was made of them, and views of patients' slices."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audit.kinds import Pair, Range
from audit.parameters import GanAudit
from audit.samples import ct_views, spread_over_classes
from corpus.images import Images
from corpus.shards import evenly
from corpus.windows import Windows
from settings.errors import BadArtifact

Views = Mapping[str, tuple[npt.NDArray[np.uint8], Sequence[str]]]


@dataclass(frozen=True)
class Material:
    """Train and held-out photos, everything else row for row of them."""

    photos: Pair
    labels: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # of train and held-out photos
    translated: Pair  # n×h×w×1 over `hu_range`, or n×h×w×3 windows
    controls: Mapping[str, Pair]  # control corpora by name, in the same forms
    views: Views  # "crops" and "full", what the translator is shown first: m×h×w×1 and whose each is
    windows: Windows
    hu_range: Range
    classes: int


def gather(
    photos: Images,
    translated: Images,
    controls: Mapping[str, Images],
    ct: Images,
    ids: Iterable[str],
    parameters: GanAudit,
    seed: int,
) -> Material:
    """Read what `parameters` asks for. `ids`: of the slices that photos are held against.

    Raises BadArtifact where translations are of other photos, or over another HU range than the slices.
    """
    for corpus in (translated, *controls.values()):
        if photos.column("id") != corpus.column("id"):
            raise BadArtifact(f"{corpus.folder}: is of other photos than {photos.folder}; run `dvc repro gan-generate`")
        if corpus.card["kind"] == "hu" and corpus.card["hu_range"] != ct.card["hu_range"]:
            raise BadArtifact(
                f"{corpus.folder}: its HU range is not that of {ct.folder.name}; run `dvc repro gan-generate`"
            )
    part, labels = np.array(photos.column("part")), np.array(photos.column("label"))
    train, held_out = (
        spread_over_classes(list(labels), np.flatnonzero(part == name), count)
        for name, count in (("train", parameters.probe.train_photos), ("val", parameters.photos))
    )

    def read(corpus: Images) -> Pair:
        return Pair(corpus.shards.read(train), corpus.shards.read(held_out))

    low, high = ct.card["hu_range"]
    return Material(
        photos=read(photos),
        labels=(labels[train], labels[held_out]),
        translated=read(translated),
        controls={name: read(corpus) for name, corpus in controls.items()},
        views=_views(ct, ids, parameters, translated.side, seed),
        windows=translated.windows(),
        hu_range=(float(low), float(high)),
        classes=len(photos.card["classes"]),
    )


def _views(ct: Images, ids: Iterable[str], parameters: GanAudit, side: int, seed: int) -> Views:
    """Views of these slices, spread evenly, and whose each is: as `ct.kind` says, then the other kind."""
    rows = np.sort(ct.rows_of(ids))
    rows = rows[evenly(len(rows), parameters.ct.count)]
    slices, patients = ct.shards.read(rows), ct.column("patient")
    found: dict[str, tuple[npt.NDArray[np.uint8], Sequence[str]]] = {}
    for kind in (parameters.ct.kind, "full" if parameters.ct.kind == "crops" else "crops"):
        images, kept = ct_views(slices, kind, parameters.ct.zoom, parameters.ct.tissue, side, seed)
        found[kind] = (images, [patients[rows[row]] for row in kept])
    return found
