"""phantom-ct: drawn head CTs as DICOM files with labels, in the layout of RSNA's competition.

Reads nothing but its parameters; stands in for a user's own data where `prepare_ct.source` is `phantom`. Where the
drawn blood lies is an out of its own, on which no stage that trains depends.
"""

from ct.phantom import make
from ct.phantom_parameters import PhantomCt
from settings.places import require_space, workers
from stages.run import Job

FILE_BYTES = 530_000


def run(job: Job) -> None:
    parameters = job.section(PhantomCt, "phantom_ct")
    folder = job.out("artifacts/phantom")
    odd = parameters.oddities
    files = parameters.patients * parameters.slices + odd.truncated + odd.duplicate_positions
    require_space(folder, FILE_BYTES * files)
    counts = make(parameters, folder, workers(job.local), job.out("artifacts/phantom-masks"))
    found = ", ".join(f"{name} {count:,}" for name, count in counts.items() if name != "slices")
    print(f"{job.name}: {counts['slices']:,} slices of {parameters.patients:,} patients; positive: {found}")
