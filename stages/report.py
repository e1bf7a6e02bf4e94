"""report: Table 1, Figure 2 and one self-contained page of everything that was made. Opens no label file; no torch."""

from pathlib import Path

from evaluation.parameters import Intervals, Report
from evaluation.report import Sources, write_report
from settings.errors import BadArtifact
from stages.run import Job, skipped


def run(job: Job) -> None:
    parameters = job.section(Report, "report")
    variants, cnns = job.parameters["variants"], job.parameters["cnns"]

    def those(prefix: str) -> dict[str, Path]:
        return {path.removeprefix(prefix): job.input(path) for path in sorted(job.inputs) if path.startswith(prefix)}

    def perhaps(path: str) -> Path | None:
        return job.input(path) if path in job.inputs else None

    reasons = {name: skipped(job.input(f"artifacts/evaluation/{name}")) for name in variants}
    for name, reason in reasons.items():
        if reason:
            print(f"{job.name}: without {name}: {reason}")
    variants = {name: entry for name, entry in variants.items() if not reasons[name]}
    if not variants:
        raise BadArtifact(f"{job.name}: every variant was skipped; see the reasons above")
    tuned = {name: path for name, path in those("artifacts/cnns/").items() if not skipped(path)}
    sources = Sources(
        variants=variants,
        cnns=cnns,
        corpora=job.parameters["corpora"],
        skipped={name: reason for name, reason in reasons.items() if reason},
        reference=parameters.reference,
        intervals=job.section(Intervals, "evaluate.intervals"),
        clip=job.parameters["evaluate"]["clip"],
        ct_source=job.parameters["prepare_ct"]["source"],
        photos_source=job.parameters["prepare_photos"]["source"],
        imagenet=job.parameters["imagenet"] is not None,
        evaluations={name: job.input(f"artifacts/evaluation/{name}") for name in variants},
        heads={name: job.input(f"artifacts/vit/{name}") for name in variants},
        tuned={name: tuned[name] for name in cnns if name in tuned and cnns[name]["trained_on"] == "ct"},
        pretrained=those("artifacts/pretrained/"),
        floors=job.input("artifacts/floors"),
        lesions=perhaps("artifacts/phantom-masks"),
        hashed=job.parameters["prepare_ct"]["ids"] == "hash",
        ct=job.input(f"artifacts/ct/hu-{job.parameters['prepare_ct']['hu_side']}"),
        parts=job.input("artifacts/split/parts.parquet"),
        photos=job.input("artifacts/photos"),
        translated=perhaps("artifacts/translated"),
        gan=perhaps("artifacts/gan"),
        audit=perhaps("artifacts/audit"),
        provenance=tuple(those("artifacts/provenance/").values()),
    )
    rows = write_report(job.out("artifacts/report"), sources, parameters.title, parameters.dpi)
    kinds = [row.kind for row in rows]
    print(f"{job.name}: {kinds.count('variant')} variants beside {kinds.count('floor')} floors")
