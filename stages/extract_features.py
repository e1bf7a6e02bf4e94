"""extract-features@<cnn>: feature maps of a frozen CNN of the table for every slice, labelled or not."""

import torch

from backbones.feature_cnn import FeatureCnn, build, load_cnn, load_start
from backbones.features import extract
from backbones.parameters import Cnn, ExtractFeatures, Weights
from backbones.starts import DEFAULT_EPS, start_from
from settings.loader import read_value
from stages.run import Job


def run(job: Job) -> None:
    parameters = job.section(ExtractFeatures, "extract_features")
    cnn = job.section(Cnn, f"cnns.{job.key}")
    if cnn.trained_on == "ct":
        model, _ = load_cnn(job.input(f"artifacts/cnns/{job.key}"), "cnn")
    else:
        imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
        start = start_from(cnn.start, imagenet, job.weights, job.input)
        torch.manual_seed(read_value(int, job.parameters["seed"], "seed") + cnn.seed)  # for random weights
        model = build(cnn.architecture, 0, start[1] if start else DEFAULT_EPS)
        if start:
            load_start(model, start[0])
    accelerator, decisions = job.accelerate()
    channels, height, width = extract(
        FeatureCnn(model, cnn.stage),
        job.key,
        job.input(f"artifacts/ct/images-{cnn.side}"),
        cnn.side,
        parameters.batch,
        job.work,
        job.out(f"artifacts/features/{job.key}"),
        accelerator,
        decisions,
    )
    accelerator.print(f"{job.name}: maps of {height}×{width}×{channels}")
