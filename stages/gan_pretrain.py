"""gan-pretrain: the ImageNet CNN trained further on the translated photos; code and budget are corpus-pretrain's."""

from backbones.parameters import CorpusPretrain, Weights
from backbones.pretrain import pretrain
from backbones.starts import start_from
from settings.loader import read_value
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(CorpusPretrain, "corpus_pretrain")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = start_from("imagenet", imagenet, job.weights, job.input)
    accelerator, decisions = job.accelerate()
    seed = read_value(int, job.parameters["seed"], "seed")
    best = pretrain(
        job.input("artifacts/translated"),
        start,
        parameters,
        job.train_run(parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out("artifacts/pretrained/translated"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: {best['val_accuracy']:.1%} of the held-out images right at {best['images']:,} images")
