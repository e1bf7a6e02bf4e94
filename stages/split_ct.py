"""split-ct: slices and their labels → train, val, test by patient, in five files.

Reads the index of the one-channel corpus and the label CSV: the phantoms' or the one that data/labels.csv lists. The
files are apart so that who must not see labels, or those of the test part, does not depend on them.
"""

from typing import Literal

import pyarrow.parquet as pq

from corpus.card import read_card
from corpus.manifest import listed_files, read_verified
from ct.labels import read_labels
from ct.parameters import Side, SplitCt
from ct.split import count_parts, split
from settings.errors import BadInput
from settings.loader import read_value
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(SplitCt, "split_ct")
    shared = job.parameters["prepare_ct"]
    side = read_value(Side, shared["hu_side"], "prepare_ct.hu_side")
    hashed = read_value(Literal["hash", "rsna"], shared["ids"], "prepare_ct.ids") == "hash"
    folder = job.input(f"artifacts/ct/hu-{side}")
    read_card(folder, "hu")
    index = pq.read_table(folder / "index.parquet", columns=["id", "patient"])
    labels, report = read_labels(_label_csv(job, shared["source"]), hashed)
    result = split(index, labels, parameters)

    pq.write_table(result.train_ids, job.out("artifacts/split/train-ids.parquet"))
    pq.write_table(result.parts, job.out("artifacts/split/parts.parquet"))
    for part, table in result.labels.items():
        pq.write_table(table, job.out(f"artifacts/split/labels-{part}.parquet"))

    known, here = set(labels.column("id").to_pylist()), set(index.column("id").to_pylist())
    report |= {"labels_without_slice": len(known - here), "slices_without_label": len(here - known)}
    print(f"{job.name}: label CSV: {', '.join(f'{name} {count:,}' for name, count in report.items())}")
    for row in count_parts(result):
        print("  " + "".join(f"{cell:>17}" for cell in row))
    print("  (of each label: positive patients/slices)")
    for warning in result.warnings:
        print(f"{job.name}: WARNING: {warning}")


def _label_csv(job: Job, source: str) -> bytes:
    if source == "phantom":
        return (job.input("artifacts/phantom") / "stage_2_train.csv").read_bytes()
    root = job.raw("labels")
    files = listed_files(root, job.input("data/labels.csv"))
    if len(files) != 1:
        raise BadInput(
            f"raw.labels: {len(files)} files are listed, one CSV is expected; name the CSV itself in local.yaml"
        )
    return read_verified(*files[0])
