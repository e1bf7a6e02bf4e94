"""evaluate@<variant>: a head's scores on val and test, and every figure drawn from them.

One of the two stages that read test labels. Nothing is chosen here.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.card import write_card
from ct.labels import LABELS
from evaluation.labelled import Labelled, read_labelled
from evaluation.metrics import sigmoid, summary
from evaluation.parameters import Evaluate
from settings.errors import BadArtifact
from stages.compute import accelerate
from stages.run import Job
from vit.head import predict
from vit.parameters import Variant

METRICS = ("weighted_log_loss", "mean_accuracy", "auc_any", "mean_auc")


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
        split = np.split(logits, [len(slices["val"].ids)])
        details = {}
        for (part, labelled), scores in zip(slices.items(), split, strict=True):
            details[part] = summary(labelled.truth, sigmoid(scores), labelled.patients, LABELS, parameters.clip)
        pq.write_table(score_table(slices, logits), folder / "scores.parquet")
        figures = {name: details["test"][name] for name in METRICS}
        (folder / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n")
        (folder / "details.json").write_text(json.dumps(details, indent=1) + "\n")
        write_card(folder, "evaluation", variant=job.key, labels=list(LABELS), count=len(logits), clip=parameters.clip)
        words = ", ".join(f"{name} {'n/a' if value is None else f'{value:.4f}'}" for name, value in figures.items())
        print(
            f"{job.name}: test, {len(slices['test'].ids):,} slices of {details['test']['patients']:,} patients: {words}"
        )
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


def score_table(slices: dict[str, Labelled], logits: np.ndarray) -> pa.Table:
    """id, patient, part, the six labels (uint8), the six logits (float32)."""
    truth = np.concatenate([part.truth for part in slices.values()])
    columns: dict[str, pa.Array] = {
        "id": pa.array([id_ for part in slices.values() for id_ in part.ids], pa.string()),
        "patient": pa.array([patient for part in slices.values() for patient in part.patients], pa.string()),
        "part": pa.array([name for name, part in slices.items() for _ in part.ids], pa.string()),
    }
    columns |= {label: pa.array(truth[:, i]) for i, label in enumerate(LABELS)}
    columns |= {f"logit_{label}": pa.array(logits[:, i].astype(np.float32)) for i, label in enumerate(LABELS)}
    return pa.table(columns)
