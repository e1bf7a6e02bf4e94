"""evaluate@<variant>: a head's scores on val and test, and every figure drawn from them.

One of the two stages that read test labels. Temperatures, thresholds and the patients' regression are fitted on val.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from corpus.card import write_card
from ct.labels import LABELS
from evaluation.labelled import read_labelled
from evaluation.outputs import METRICS, write_evaluation
from evaluation.parameters import Evaluate
from evaluation.scores import score_table
from settings.errors import BadArtifact
from stages.compute import accelerate
from stages.run import Job
from vit.head import predict
from vit.parameters import Variant


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
    head = job.input(f"artifacts/vit/{job.key}")
    rows = rows_of([id_ for part in slices.values() for id_ in part.ids], sources)
    logits = predict(
        head,
        sources,
        rows,
        accelerator,
        decisions,
        parameters.batch,
        lambda side: job.input(f"artifacts/ct/images-{side}"),
    )
    if accelerator.is_main_process:
        folder = job.out(f"artifacts/evaluation/{job.key}")
        test = write_evaluation(folder, score_table(slices, logits, LABELS), LABELS, parameters)["test"]
        write_card(folder, "evaluation", variant=job.key, labels=list(LABELS), count=len(logits), clip=parameters.clip)
        words = ", ".join(f"{name} {'n/a' if test[name] is None else f'{test[name]:.4f}'}" for name in METRICS)
        print(f"{job.name}: test, {test['slices']:,} slices of {test['patients']:,} patients: {words}")
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
