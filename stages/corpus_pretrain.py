"""corpus-pretrain@<corpus>: a CNN learns the classes of a corpus of photos.

Starts from the weights file that `imagenet` names; without one, from random weights, and then the result of
corpus-pretrain@photos stands for 'ImageNet weights' in every stage below.
"""

from backbones.parameters import Corpus, CorpusPretrain, Weights
from backbones.pretrain import pretrain
from backbones.start import find_start
from settings.errors import BadParameter
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(CorpusPretrain, "corpus_pretrain")
    job.section(Corpus, f"corpora.{job.key}")
    if job.key != "photos":
        raise BadParameter(f"corpora.{job.key}: there is no such corpus yet, only photos; remove the entry")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = find_start("imagenet" if imagenet else "random", imagenet, job.weights, job.input)
    accelerator, decisions = accelerate(job)
    curves = pretrain(
        job.input("artifacts/photos"),
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
        job.out(f"artifacts/pretrained/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: held-out photos, last: accuracy {curves.validation[-1]['val_accuracy']:.2%}")
