"""extract-features@<cnn>: the frozen CNN's maps of every slice, in fp16, for the heads to read.

The CNN is the fine-tuned one, or its start where it is trained on nothing more.
"""

from backbones.feature_cnn import load_cnn
from backbones.features import extract
from backbones.parameters import Cnn, ExtractFeatures, Weights
from backbones.start import Start, find_start, start_cnn
from corpus.images import Images
from settings.loader import read_value
from stages.compute import accelerate
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(ExtractFeatures, "extract_features")
    cnn = job.section(Cnn, f"cnns.{job.key}")
    if cnn.trained_on == "ct":
        model, _ = load_cnn(job.input(f"artifacts/cnns/{job.key}"), "cnn")
    else:
        imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
        seed = read_value(int, job.parameters["seed"], "seed") + cnn.seed
        start = find_start(cnn.start, imagenet, job.weights, job.input)
        if cnn.trained_on == "batchnorm":
            start = Start(job.input(f"artifacts/cnns/{job.key}"))
        model, _ = start_cnn(cnn.architecture, 1, start, seed, keep_classifier=False)
    images = Images(job.input(f"artifacts/ct/images-{cnn.side}"), "windows")
    accelerator, decisions = accelerate(job)
    channels, height, width = extract(
        model,
        cnn.stage,
        job.key,
        images,
        parameters.batch,
        job.work,
        job.out(f"artifacts/features/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: {len(images):,} maps of {height}×{width}×{channels}")
