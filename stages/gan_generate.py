"""gan-generate: every photo, train and held out, through the translator; same ids, parts and labels as the photos."""

from gan.generate import generate
from gan.parameters import GanGenerate
from stages.compute import accelerate
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(GanGenerate, "gan_generate")
    accelerator, decisions = accelerate(job)
    count = generate(
        job.input("artifacts/gan"),
        job.input("artifacts/photos"),
        parameters,
        job.work,
        job.out("artifacts/translated"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: {count:,} photos translated")
