"""corpus-pretrain@<corpus>: a CNN learns the classes of a corpus: of photos, or of what was made of them.

Starts from the weights file that `imagenet` names, so that corpora differ in nothing but their images. Without one,
corpus-pretrain@photos starts from random weights, and its result stands for 'ImageNet weights' in every stage below,
also as the start of the other corpora.
"""

from backbones.parameters import CorpusPretrain, Weights
from backbones.pretrain import pretrain
from backbones.start import find_start
from settings.loader import read_value
from stages.compute import accelerate, train_run
from stages.run import Job


def run(job: Job) -> None:
    control = f"artifacts/controls/{job.key}"
    stands_for_imagenet = job.key == "photos" and job.parameters["imagenet"] is None
    train_on(
        job, control if control in job.inputs else "artifacts/photos", "random" if stands_for_imagenet else "imagenet"
    )


def train_on(job: Job, corpus: str, first: str) -> None:
    """Train on a corpus (an input of the job), from the start `first`; the job's one out is the result."""
    parameters = job.section(CorpusPretrain, "corpus_pretrain")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    start = find_start(first, imagenet, job.weights, job.input)
    seed = read_value(int, job.parameters["seed"], "seed")
    accelerator, decisions = accelerate(job)
    curves = pretrain(
        job.input(corpus),
        start,
        parameters,
        train_run(job, parameters.images, parameters.batch, seed, parameters.evaluate_every),
        job.out(*job.outs),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: held-out photos, last: accuracy {curves.validation[-1]['val_accuracy']:.2%}")
