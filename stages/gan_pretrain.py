"""gan-pretrain: ImageNet weights are trained further, on the translated photos and the photos' classes.

The same code and the same budget as corpus-pretrain, so that the two corpora compare.
"""

from backbones.parameters import CorpusPretrain, Weights
from backbones.pretrain import pretrain
from backbones.start import find_start
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(CorpusPretrain, "corpus_pretrain")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = find_start("imagenet", imagenet, job.weights, job.input)
    accelerator, decisions = accelerate(job)
    curves = pretrain(
        job.input("artifacts/translated"),
        start,
        parameters,
        train_run(
            job,
            parameters.images,
            parameters.batch,
            read_value(int, job.parameters["seed"], "seed"),
            parameters.evaluate_every,
            parameters.patience,
        ),
        job.out("artifacts/pretrained/translated"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: held-out photos, last: accuracy {curves.validation[-1]['val_accuracy']:.2%}")
