"""Which slices a CNN learnt labels of: written by its training, carried with its maps, checked before a head trains.

A head that trains on slices its CNN was fitted on learns to trust that CNN (the stacking leak).
"""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from settings.errors import BadArtifact

FILE = "fitted.parquet"  # id


def write_fitted(folder: Path, ids: pa.ChunkedArray) -> None:
    """The ids of the slices, beside the CNN's weights."""
    pq.write_table(pa.table({"id": ids}), folder / FILE)


def carry_fitted(source: Path, folder: Path) -> None:
    """Copy the list of one artifact into another; BadArtifact where there is none."""
    try:
        shutil.copyfile(source / FILE, folder / FILE)
    except FileNotFoundError:
        raise BadArtifact(f"{source}: does not say which slices its CNN was fitted on; rerun cnn-finetune") from None


def check_fitted(folder: Path, parts: Path) -> None:
    """BadArtifact unless all slices that the CNN in `folder` was fitted on are of the CNN half of train.

    `parts`: parts.parquet of the split. A slice that it does not know is refused as well, and so is a missing list.
    """
    table = pq.read_table(parts, columns=["id", "part", "half"])
    allowed = table.filter((pc.field("part") == "train") & (pc.field("half") == "cnn")).column("id")
    try:
        ids = pq.read_table(folder / FILE).column("id")
    except FileNotFoundError:
        raise BadArtifact(f"{folder}: does not say which slices its CNN was fitted on; rerun cnn-finetune") from None
    strangers = ids.filter(pc.invert(pc.is_in(ids, value_set=allowed.combine_chunks())))
    if len(strangers):
        raise BadArtifact(
            f"{folder}: its CNN was fitted on {len(strangers)} slices outside the CNN half of this split "
            f"(first {strangers[0]}), and a head would trust it too much: rerun cnn-finetune"
        )
