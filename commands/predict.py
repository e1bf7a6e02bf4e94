"""`pipeline.py predict PATH…`: a trained variant's probabilities for slices of DICOM files that are in no corpus.

Series by series: no more than one series' slices are in memory. Paths, which may hold names, go to the screen and into
the CSV as the user gave them, and nowhere else but into a private temporary folder while headers are read.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from corpus.card import read_card
from corpus.images import Reject
from corpus.sharing import Share
from corpus.workers import Progress, pool
from ct.dicom import Refused
from ct.given import Series, flags_of, given_files, parts_of, series_of
from ct.raw_files import RawFiles
from ct.scan import scan
from evaluation.metrics import sigmoid
from evaluation.prior import calibrated, read_calibration
from settings.errors import BadArtifact, BadInput, BadParameter
from settings.loader import check_names, load_yaml
from settings.places import load_local
from training.ranks import start
from vit.predict import Model, Pixels, load_model, picture, series_logits

NOTICE = (
    "Not a medical device: research output of a network, for no diagnosis and no triage. "
    "A low probability rules nothing out."
)
NAMED = 3  # files of a reason for rejecting them that the screen names
Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


class Row(NamedTuple):
    """A line of the CSV, but for its probabilities."""

    file: str
    frame: int | None  # of a multi-frame file, from 1
    series: str
    position: float  # mm; nan: unknown
    slices: int  # it is the mean of
    flags: list[str]


class Rejected:
    """Files, or frames of them, that gave no slice, once for each reason."""

    def __init__(self, names: dict[str, str], left: dict[str, Refused]) -> None:
        self.names = names
        self.found = dict[tuple[str, int | None, str, str], None]()  # path, frame from 1 or None, rule, reason
        for path, why in left.items():
            self.found[path, None, why.rule, why.reason] = None

    def add(self, id_: str, why: Refused | Reject, frame: int | None = None) -> None:
        self.found[self.names[id_], frame, why.rule, why.reason] = None


def predict(artifacts: Path, paths: Sequence[Path], variant: str | None, prevalence: float | None, out: Path) -> None:
    """Print and write to `out` (CSV) what a variant answers for the slices; BadInput where none could be read."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise BadParameter(f"--prevalence: {prevalence:g} is not between 0 and 1; give a share, such as 0.14")
    files, names, left = given_files(paths)
    variant = variant or best_variant(artifacts)
    accelerator, decisions = start(load_local())
    model = load_model(artifacts, variant, accelerator.device, decisions)
    calibration = read_calibration(artifacts / "evaluation" / variant, model.labels, model.digest)
    prior = calibration.prevalences[model.labels.index("any")] if prevalence is None else prevalence
    console = Console(width=220, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{NOTICE}\nvariant {variant}; probabilities raw > calibrated, at a prevalence of {prior:.3f}\n")
    rejected = Rejected(names, left)
    count = 0
    with written(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        raw = [f"raw_{label}" for label in model.labels]
        head = ["file", "series", "position_mm", "slices", *raw, *model.labels]
        writer.writerow([*head, "prevalence", "flags", "rejected"])
        for rows, logits in answers(model, files, rejected):
            both = sigmoid(logits), calibrated(logits, calibration, prevalence)
            for row, *pair in zip(rows, *both, strict=True):
                row.flags.extend(_incoherent(pair[1], model.labels))
                numbers = [f"{value:.6g}" for answer in pair for value in answer]
                place = [_of_frame(row.file, row.frame), row.series, _mm(row.position, 2), row.slices]
                writer.writerow([*place, *numbers, f"{prior:.6g}", "; ".join(row.flags), ""])
            _show(console, rows, *both, model.labels)
            count += len(rows)
        for path, frame, rule, reason in rejected.found:
            writer.writerow([_of_frame(path, frame), *[""] * (len(head) + 1), f"{rule}: {reason}"])
    _show_rejected(console, rejected)
    console.print(f"{count:,} slices of {len(files):,} files: {out}")
    if not count:
        raise BadInput(f"none of {len(files)} files gave a slice; see above, or column `rejected` of {out}")


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A text file to write, which is at `path` once it is whole; after an error nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def best_variant(artifacts: Path) -> str:
    """Of the evaluated variants of params.yaml, the one with the lowest weighted log loss on val; test has no say.

    `params.yaml` is that beside `artifacts`: heads of other parameter sets may lie there still. BadArtifact where there
    is none.
    """
    variants = load_yaml(artifacts.parent / "params.yaml").get("variants", {})
    check_names(variants, "variants")
    found = []
    for name in sorted(variants):
        folder = artifacts / "vit" / name
        if (folder / "card.json").exists() and (artifacts / "evaluation" / name / "details.json").exists():
            found.append((read_card(folder, "head")["val_weighted_log_loss"], name))
    if not found:
        raise BadArtifact(f"{artifacts}: holds no variant of params.yaml with its evaluation; run `dvc repro`")
    return min(found)[1]


def answers(
    model: Model, files: RawFiles, rejected: Rejected, average_thin: bool = True
) -> Iterator[tuple[list[Row], Logits]]:
    """Series by series: its rows, and their logits (n×labels). Files refused for their header are known before."""
    with TemporaryDirectory(prefix="predict-") as work, pool(1) as run:
        ordered, rejects = scan(files, True, Path(work), run, Share(), "predict", lenient=True)
    for reject in rejects:
        rejected.add(reject.id, reject)
    progress = Progress("predict", "slices", ordered.num_rows)
    for series in series_of(files, ordered, rejected.add):
        yield _answer(model, series, rejected, average_thin)
        progress.add(len(series.frames))


def _answer(model: Model, series: Series, rejected: Rejected, average_thin: bool) -> tuple[list[Row], Logits]:
    rows: list[Row] = []
    made_of: list[tuple[int, ...]] = []  # for each row, slices of the series
    lost: set[int] = set()

    def refuse(row: int, why: Refused) -> None:
        lost.add(row)
        rejected.add(series.frames[row].file.id, why, series.frame(row))

    def pictures() -> Iterator[tuple[float, dict[int, Pixels]]]:
        for part in parts_of(series, refuse, average_thin):
            try:
                made = picture(part.slice, model)
            except Refused as why:
                for row in part.rows:
                    refuse(row, why)
                continue
            first = part.rows[0]
            file = rejected.names[series.frames[first].file.id]
            warnings = sorted({word for row in part.rows for word in series.warnings[row].split()})
            rows.append(Row(file, series.frame(first), series.name, part.position, len(part.rows), warnings))
            made_of.append(part.rows)
            yield 0.0 if math.isnan(part.position) else part.position, made

    logits = series_logits(model, pictures())
    finite = [bool(np.isfinite(answer).all()) for answer in logits]
    for slices, is_so in zip(made_of, finite, strict=True):
        for row in () if is_so else slices:
            refuse(row, Refused("not-finite", "the network's answer is no finite number"))
    common = flags_of(series, len(series.frames) - len(lost))
    sound = [row._replace(flags=common + row.flags) for row, is_so in zip(rows, finite, strict=True) if is_so]
    return sound, logits[np.array(finite, bool)]


def _incoherent(probability: Sequence[float], labels: Sequence[str]) -> list[str]:
    """A flag where `any` is less probable than a subtype, which it contains."""
    answers = dict(zip(labels, probability, strict=True))
    of_any = answers.pop("any")
    largest = max(answers, key=lambda label: answers[label])
    return [f"any below {largest}"] if of_any < answers[largest] else []


def _show(console: Console, rows: Sequence[Row], raw: Probabilities, scaled: Probabilities, labels: list[str]) -> None:
    """A series' rows as a table; flags that all have stand above it."""
    if not rows:
        return
    common = [flag for flag in rows[0].flags if all(flag in row.flags for row in rows)]
    console.print(f"series {rows[0].series}: {len(rows)} slices{''.join(f'; {flag}' for flag in common)}")
    table = Table(box=None, pad_edge=False)
    for heading in ("file", "mm", *labels, "flags"):
        table.add_column(heading, justify="left" if heading in ("file", "flags") else "right", no_wrap=True)
    for row, *answers in zip(rows, raw, scaled, strict=True):
        cells = [f"{before:.3f} > {after:.3f}" for before, after in zip(*answers, strict=True)]
        own = "; ".join(flag for flag in row.flags if flag not in common)
        table.add_row(_shown(_of_frame(row.file, row.frame)), _mm(row.position, 1), *cells, own)
    console.print(table)
    console.print()


def _show_rejected(console: Console, rejected: Rejected) -> None:
    by_reason: dict[str, list[str]] = {}
    for path, frame, rule, reason in rejected.found:
        by_reason.setdefault(f"{rule}: {reason}", []).append(_of_frame(path, frame))
    for reason, paths in by_reason.items():
        more = f" and {len(paths) - NAMED:,} more" if len(paths) > NAMED else ""
        console.print(f"rejected, {reason}: {', '.join(map(_shown, paths[:NAMED]))}{more}")


def _of_frame(path: str, frame: int | None) -> str:
    """What stands for a slice: its file and, of a multi-frame file, the frame's number from 1."""
    return f"{path}#{frame}" if frame else path


def _mm(position: float, digits: int) -> str:
    return "" if math.isnan(position) else f"{position:.{digits}f}"


def _shown(path: str) -> str:
    """A path for the screen, which takes no bytes that are not UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()
