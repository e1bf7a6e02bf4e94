"""evaluate@<variant>: a head's scores on val and test, every figure drawn from them, and what the head looked at.

One of the two stages that read test labels. Temperatures, thresholds and the scans' regression are fitted on val.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from backbones.feature_cnn import weights_digest
from corpus.card import write_card
from corpus.shards import evenly
from ct.labels import LABELS
from evaluation.cases import choose_cases, spread_positives, write_cases
from evaluation.falls import Falls, write_falls
from evaluation.labelled import read_labelled
from evaluation.outputs import METRICS, write_evaluation
from evaluation.parameters import Evaluate
from evaluation.scores import score_table, scores_of
from settings.errors import BadArtifact
from stages.compute import accelerate
from stages.run import Job
from vit.head import open_head, predict_logits
from vit.occlusion import occlusion, places
from vit.parameters import Variant

REFERENCE = 256  # slices of val, at most, whose mean stands in for a place that is occluded


def run(job: Job) -> None:
    parameters = job.section(Evaluate, "evaluate")
    variant = job.section(Variant, f"variants.{job.key}")
    sources = [job.input(f"artifacts/features/{cnn}") for cnn in variant.cnns]
    sources = sources or [job.input(f"artifacts/ct/images-{variant.side}")]
    parts = job.input("artifacts/split/parts.parquet")
    slices = {
        part: read_labelled(job.input(f"artifacts/split/labels-{part}.parquet"), parts, part, LABELS)
        for part in ("val", "test")
    }
    accelerator, decisions = accelerate(job)
    rows = rows_of([id_ for part in slices.values() for id_ in part.ids], sources)
    of_head = job.input(f"artifacts/vit/{job.key}")
    head, inputs = open_head(of_head, sources, lambda side: job.input(f"artifacts/ct/images-{side}"))
    head.to(accelerator.device)
    logits = predict_logits(head, inputs, rows, parameters.batch, accelerator, decisions)
    series = pq.read_table(sources[0] / "index.parquet", columns=["series"]).column("series").take(rows)
    table = score_table(slices, logits, LABELS, series.to_pylist())
    test = scores_of(table, LABELS)
    cases = choose_cases(test, LABELS)
    falls = None
    if places(head, inputs):
        asked = sorted({case.id for case in cases} | {*spread_positives(test, LABELS.index("any"), parameters.occlude)})
        val = rows[: len(slices["val"].ids)]
        usual = val[evenly(len(val), REFERENCE)]
        where = rows_of(asked, sources)
        falls = Falls(asked, occlusion(head, inputs, where, usual, parameters.batch, accelerator, decisions))
    if accelerator.is_main_process:
        folder = job.out(f"artifacts/evaluation/{job.key}")
        found = write_evaluation(folder, table, LABELS, parameters)["test"]
        write_cases(folder / "cases.csv", cases)
        if falls:
            write_falls(folder / "occlusion.parquet", falls, LABELS)
        content = {"labels": list(LABELS), "count": len(logits), "clip": parameters.clip}
        write_card(folder, "evaluation", variant=job.key, head=weights_digest(of_head), **content)
        words = ", ".join(f"{name} {'n/a' if found[name] is None else f'{found[name]:.4f}'}" for name in METRICS)
        print(f"{job.name}: test, {found['slices']:,} slices of {found['patients']:,} patients: {words}")
    accelerator.wait_for_everyone()


def rows_of(ids: list[str], sources: list[Path]) -> np.ndarray:
    """Rows of the slices, which every source must have in one order; BadArtifact otherwise."""
    first, *others = [pq.read_table(source / "index.parquet", columns=["id"]).column("id") for source in sources]
    for source, other in zip(sources[1:], others, strict=True):
        if not first.equals(other):
            raise BadArtifact(f"{source}: has other slices than {sources[0]}, or in another order; run `dvc repro`")
    place = {id_: row for row, id_ in enumerate(first.to_pylist())}
    if missing := [id_ for id_ in ids if id_ not in place]:
        raise BadArtifact(f"{sources[0]}: has no slice {missing[0]} ({len(missing)} are missing); run `dvc repro`")
    return np.array([place[id_] for id_ in ids], dtype=np.int64)
