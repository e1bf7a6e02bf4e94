"""split-ct: slices and their labels → train, val, test, hold-out by patient, in files of their own.

Reads the index of the one-channel corpus and the label CSV: the phantoms' or the one that data/labels.csv lists; and
the split's file, if `split_ct.file` names one. The files are apart so that who must not see labels, or those of the
test part, does not depend on them. label-report.csv lists what was odd; folds.csv is the split for others to use.
"""

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.csv import write_csv

from corpus.card import read_card
from corpus.manifest import listed_files, read_verified
from ct.labels import find_unmatched, read_labels, sort_findings
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
    index = pq.read_table(folder / "index.parquet", columns=["id", "patient", "pixels", "linked"])
    labels, odd = read_labels(_label_csv(job, shared["source"]), hashed)
    file = job.input(parameters.file).read_bytes() if parameters.file else None
    result = split(index, labels, parameters, file)
    findings = sort_findings([odd, find_unmatched(index.column("id"), labels.column("id")), result.findings])
    _check_findings(job, findings, parameters)

    pq.write_table(result.train_ids, job.out("artifacts/split/train-ids.parquet"))
    pq.write_table(result.val_ids, job.out("artifacts/split/val-ids.parquet"))
    pq.write_table(result.parts, job.out("artifacts/split/parts.parquet"))
    for part, table in result.labels.items():
        pq.write_table(table, job.out(f"artifacts/split/labels-{part}.parquet"))
    write_csv(result.folds, job.out("artifacts/split/folds.csv"))
    write_csv(findings, job.out("artifacts/split/label-report.csv"))

    print(f"{job.name}: {labels.num_rows:,} slices are labelled; {_count(findings)} (see label-report.csv)")
    for row in count_parts(result):
        print("  " + "".join(f"{cell:>17}" for cell in row))
    print("  (of each label: positive patients/slices)")
    for warning in result.warnings:
        print(f"{job.name}: WARNING: {warning}")


def _check_findings(job: Job, findings: pa.Table, parameters: SplitCt) -> None:
    """BadInput if there is one that `split_ct.fatal` names; all are then listed in the work folder."""
    fatal = findings.filter(pc.is_in(findings.column("rule"), value_set=pa.array(parameters.fatal, pa.string())))
    if fatal.num_rows:
        path = job.work / "label-report.csv"
        write_csv(findings, path)
        first = fatal.slice(0, 1).to_pylist()[0]
        detail = f" ({first['detail']})" if first["detail"] else ""
        raise BadInput(
            f"split_ct.fatal: {_count(fatal)}; first: slice {first['id']}{detail}; all are listed in {path}: "
            "mend the label CSV, or take the rule out of split_ct.fatal"
        )


def _count(findings: pa.Table) -> str:
    rows = sorted(findings.column("rule").value_counts().to_pylist(), key=lambda row: str(row["values"]))
    return ", ".join(f"{row['values']} {row['counts']:,}" for row in rows) or "nothing odd"


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
