"""prepare-photos: photos → one corpus of square RGB images with a train and a held-out part.

Draws the embedded photos, or reads the ImageFolder that data/photos.csv lists. Knows nothing of CT.
"""

from photos.parameters import PreparePhotos
from photos.prepare import prepare_drawn, prepare_folder
from settings.places import workers
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(PreparePhotos, "prepare_photos")
    side, out, processes = parameters.side, job.out("artifacts/photos"), workers(job.local)
    if parameters.source == "drawn":
        counts = prepare_drawn(parameters.drawn, side, job.work, out, processes)
    else:
        manifest = job.input("data/photos.csv")
        counts = prepare_folder(job.raw("photos"), manifest, parameters.folder, side, job.work, out, processes)
    print(
        f"{job.name}: {counts['photos']:,} photos of {counts['classes']:,} classes: {counts['train']:,} to train on, "
        f"{counts['val']:,} held out"
    )
    for rule, count in counts["rejected_by"].items():
        print(f"{job.name}: {count:,} rejected: {rule} (see rejects.csv)")
