"""prepare-ct: DICOM files → slices in three windows at every side, and as one channel of Hounsfield units.

Reads the phantoms or the files that data/ct.csv lists. Knows no label and no split.
"""

from corpus.windows import parse_windows
from ct.parameters import PrepareCt
from ct.prepare import Forms, find_files, prepare
from settings.places import workers
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(PrepareCt, "prepare_ct")
    if parameters.source == "phantom":
        files = find_files(job.input("artifacts/phantom"), None)
    else:
        files = find_files(job.raw("ct"), job.input("data/ct.csv"))
    counts = prepare(
        files,
        Forms(parse_windows(job.parameters["windows"]), parameters.sides, parameters.hu_side),
        hashed=parameters.ids == "hash",
        work=job.work,
        images={side: job.out(f"artifacts/ct/images-{side}") for side in parameters.sides},
        hu=job.out(f"artifacts/ct/hu-{parameters.hu_side}"),
        workers=workers(job.local),
    )
    print(
        f"{job.name}: {counts['slices']:,} slices of {counts['patients']:,} patients in {counts['series']:,} series "
        f"from {counts['files']:,} files; {counts['repaired']:,} repaired"
    )
    for rule, count in counts["rejected_by"].items():
        print(f"{job.name}: {count:,} rejected: {rule} (see rejects.csv)")
