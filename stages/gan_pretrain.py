"""gan-pretrain: ImageNet weights are trained further, on the translated photos and the photos' classes.

The same code, budget and start as corpus-pretrain, so that the corpora compare.
"""

from stages.corpus_pretrain import train_on
from stages.run import Job


def run(job: Job) -> None:
    train_on(job, "artifacts/translated", "imagenet")
