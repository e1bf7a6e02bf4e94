"""extract-features@<cnn>: the frozen CNN, and its maps of every slice in fp16, for the heads to read.

The CNN is the fine-tuned one, or its start where it is trained on nothing more. Without `cache` heads run it.
"""

from backbones.feature_cnn import load_cnn
from backbones.features import Frozen, extract
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
        folder = job.input(f"artifacts/cnns/{job.key}")
        model, card = load_cnn(folder, "cnn")
        outputs, eps = card["outputs"], card["batchnorm_eps"]
        frozen = Frozen(job.key, model, cnn.architecture, outputs, eps, cnn.stage, tuple(card["classes"]), folder)
    else:
        imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
        seed = read_value(int, job.parameters["seed"], "seed") + cnn.seed
        start = find_start(cnn.start, imagenet, job.weights, job.input)
        if cnn.trained_on == "batchnorm":
            start = Start(job.input(f"artifacts/cnns/{job.key}"))
        model, eps = start_cnn(cnn.architecture, 1, start, seed, keep_classifier=False)
        frozen = Frozen(job.key, model, cnn.architecture, 1, eps, cnn.stage)
    images = Images(job.input(f"artifacts/ct/images-{cnn.side}"), "windows")
    accelerator, decisions = accelerate(job)
    out = job.out(f"artifacts/features/{job.key}")
    channels, height, width = extract(
        frozen, images, parameters.batch, parameters.cache, job.work, out, accelerator, decisions
    )
    what = f"{len(images):,} maps" if parameters.cache else "no map kept; heads make them"
    accelerator.print(f"{job.name}: {what} of {height}×{width}×{channels}")
