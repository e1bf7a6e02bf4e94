"""cnn-batchnorm@<cnn>: BatchNorm statistics of the CNN half's slices in a CNN that is otherwise its start.

Reads no label: the arm tells what CT's intensities alone are worth, without a translator and without a bleed.
"""

import numpy as np
import pyarrow.parquet as pq

from backbones.batchnorm import match_statistics
from backbones.parameters import Cnn, Weights
from backbones.start import find_start
from corpus.images import Images
from settings.loader import read_value
from stages.compute import accelerate
from stages.run import Job


def run(job: Job) -> None:
    cnn = job.section(Cnn, f"cnns.{job.key}")
    batch = read_value(int, job.parameters["cnn_finetune"]["batch"], "cnn_finetune.batch")
    imagenet = read_value(Weights | None, job.parameters["imagenet"], "imagenet")
    seed = read_value(int, job.parameters["seed"], "seed") + cnn.seed
    parts = pq.read_table(job.input("artifacts/split/parts.parquet"))
    halves = np.array(parts["half"].to_pylist())
    images = Images(job.input(f"artifacts/ct/images-{cnn.side}"), "windows")
    rows = images.rows_of(np.array(parts["id"].to_pylist())[halves == "cnn"].tolist())
    start = find_start(cnn.start, imagenet, job.weights, job.input)
    accelerator, decisions = accelerate(job)
    out = job.out(f"artifacts/cnns/{job.key}")
    match_statistics(images, rows, cnn, start, batch, seed, out, accelerator, decisions)
    accelerator.print(f"{job.name}: statistics of {len(rows):,} slices")
