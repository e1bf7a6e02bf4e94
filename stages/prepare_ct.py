"""prepare-ct: DICOM files → slices in three windows at every side, and as one channel of Hounsfield units.

Reads the phantoms or the files that data/ct.csv lists. Knows no label and no split. On one machine it is one process
with a pool of workers, whatever `launch` says: ranks would only wait for each other. Several machines share the shards
over a checkout on a file system that all of them see, where `launch` names them, or when each starts `python
pipeline.py stage prepare-ct` with RANK and WORLD_SIZE set; rank 0 waits for the others' shards and finishes.
"""

from corpus.sharing import share_of_environment
from corpus.windows import beyond_range, parse_windows
from corpus.workers import lean_memory
from ct.convert import Forms
from ct.parameters import PrepareCt
from ct.prepare import prepare
from ct.raw_files import find_files
from settings.places import workers
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(PrepareCt, "prepare_ct")
    processes = workers(job.local)
    if processes > 1:
        lean_memory()
    if parameters.source == "phantom":
        files = find_files(job.input("artifacts/phantom"), None)
    else:
        files = find_files(job.raw("ct"), job.input("data/ct.csv"))
    windows = parse_windows(job.parameters["windows"])
    counts = prepare(
        files,
        Forms(windows, parameters.sides, parameters.hu_side),
        hashed=parameters.ids == "hash",
        rejects_at_most=parameters.rejects_at_most,
        work=job.work,
        images={side: job.out(f"artifacts/ct/images-{side}") for side in parameters.sides},
        hu=job.out(f"artifacts/ct/hu-{parameters.hu_side}"),
        workers=processes,
        share=share_of_environment(),
    )
    if counts is None:
        print(f"{job.name}: this rank's shards are done; rank 0 finishes")
        return
    if beyond := beyond_range(windows):
        print(f"{job.name}: {beyond}")
    odd = counts["odd_series"]
    print(
        f"{job.name}: {counts['slices']:,} slices of {counts['patients']:,} patients in {counts['series']:,} series "
        f"from {counts['files']:,} files; {counts['repaired']:,} repaired"
    )
    print(
        f"{job.name}: of the series {odd['tilted']:,} are tilted, {odd['duplicate_positions']:,} have slices at one "
        f"position, {odd['missing_slices']:,} lack slices, {odd['several_orientations']:,} have several orientations "
        "(see series.csv)"
    )
    for what in ("rejected", "warned of"):
        for rule, count in counts["rejected_by" if what == "rejected" else "warnings"].items():
            print(f"{job.name}: {count:,} {what}: {rule}{' (see rejects.csv)' if what == 'rejected' else ''}")
