"""Where the phantom's blood lies: a row and a mask for each label on each slice; for tests and figures only."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.card import write_card
from corpus.manifest import short_hash
from corpus.masks import pack_mask
from ct.labels import LABELS


class Lesion(NamedTuple):
    """One label's blood on one slice."""

    id: str  # SOPInstanceUID
    hash: str  # the id of slices whose ids are hashed
    label: str
    labelled: bool  # False: there, but not enough of it to be seen
    pixels: int  # of the file
    area_mm2: float
    volume_ml: float  # of all this label's blood within the series' slices
    rows: int
    columns: int
    mask: bytes  # `corpus.masks.unpack_mask` reads it


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("hash", pa.string()),
        ("label", pa.string()),
        ("labelled", pa.bool_()),
        ("pixels", pa.int32()),
        ("area_mm2", pa.float32()),
        ("volume_ml", pa.float32()),
        ("rows", pa.int16()),
        ("columns", pa.int16()),
        ("mask", pa.binary()),
    ]
)


def lesions_of(
    labels: Sequence[tuple[str, tuple[int, ...]]],
    masks: Sequence[Mapping[str, npt.NDArray[np.bool_]]],
    numbers: Sequence[int],
    spacing: float,
    step: float,
) -> list[Lesion]:
    """Lesions of a series, a value for each file: id and labels, masks by label, which slice it is; lengths in mm."""
    area = spacing**2
    volumes: dict[str, float] = defaultdict(float)
    for number in set(numbers):  # a slice that was scanned twice counts once
        for name, mask in masks[numbers.index(number)].items():
            volumes[name] += float(np.count_nonzero(mask)) * area * step / 1000
    found = []
    for (slice_id, row), of_slice in zip(labels, masks, strict=True):
        for name, mask in of_slice.items():
            if pixels := int(np.count_nonzero(mask)):
                labelled, (rows, columns) = bool(row[LABELS.index(name)]), mask.shape
                size = pixels * area, volumes[name]
                found.append(
                    Lesion(
                        slice_id, short_hash(slice_id), name, labelled, pixels, *size, rows, columns, pack_mask(mask)
                    )
                )
    return found


def write_lesions(folder: Path, lesions: Sequence[Lesion]) -> None:
    """Write lesions.parquet (a row a lesion, in order of id and label) and card.json."""
    ordered = sorted(lesions, key=lambda lesion: (lesion.id, lesion.label))
    table = pa.Table.from_pylist([lesion._asdict() for lesion in ordered], SCHEMA)
    pq.write_table(table, folder / "lesions.parquet")
    by_label = Counter(lesion.label for lesion in ordered if lesion.labelled)
    write_card(
        folder,
        "lesions",
        count=len(ordered),
        labelled={name: by_label[name] for name in LABELS[:-1]},
        columns={"pixels": "of the file", "area_mm2": "mm²", "volume_ml": "ml within the series' slices"},
    )
