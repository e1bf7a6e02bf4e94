"""`pipeline.py submission PATH…`: Kaggle's submission for the unlabelled test files, by the way of `predict`.

Every slice is answered on its own: thin ones are not averaged, as the training series were not.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.csv import read_csv

from commands.predict import NAMED, Rejected, answers, best_variant, written
from ct.given import given_files
from evaluation.prior import calibrated, read_calibration
from evaluation.submission import SUBTYPES, submission_csv
from settings.errors import BadInput
from settings.places import load_local
from training.ranks import start
from vit.predict import load_model

LEAST = 1e-3  # probability of a filled label at least: one that val had no slice of is not impossible


def submit(
    artifacts: Path, paths: Sequence[Path], variant: str | None, order: Path | None, fill: bool, out: Path
) -> None:
    """Write `out`: calibrated probabilities at the prevalences on val, in the rows of `order` or by slice.

    `fill`: slices without a file that can be read get the prevalences on val; without it they are a BadInput, raised as
    soon as they are known, and nothing is written.
    """
    files, names, left = given_files(paths)
    if left and not fill:
        path, refused = next(iter(left.items()))
        raise BadInput(f"{path}: {refused}; mend it or name what it holds, or repeat with --fill")
    slices = {path: Path(path).stem for path in names.values()}
    rows = _rows(order) if order else [f"{name}_{label}" for name in sorted(slices.values()) for label in SUBTYPES]
    wanted = dict.fromkeys(row.rpartition("_")[0] for row in rows)
    if odd := next((path for path, name in slices.items() if name in wanted and not name.startswith("ID_")), None):
        raise BadInput(f"{odd}: is not named as Kaggle's files, ID_….dcm; name only those, or give --order")
    lost = dict.fromkeys(wanted.keys() - set(slices.values()), "no file")
    _check(lost, fill)
    variant = variant or best_variant(artifacts)
    accelerator, decisions = start(load_local())
    model = load_model(artifacts, variant, accelerator.device, decisions)
    calibration = read_calibration(artifacts / "evaluation" / variant, model.labels, model.digest)
    rejected = Rejected(names, {})
    found: list[str] = []
    parts = [np.empty((0, len(model.labels)))]
    for some, logits in answers(model, files, rejected, average_thin=False):
        _check(_lost(rejected, slices, wanted), fill)
        found += [slices[row.file] for row in some]
        parts.append(calibrated(logits, calibration))
    lost |= _lost(rejected, slices, wanted)
    _check(lost, fill)
    if not found:
        raise BadInput(
            f"none of {len(files)} files gave a slice, first {next(iter(lost))}: {next(iter(lost.values()))}"
        )
    prior = np.clip(calibration.prevalences, LEAST, 1 - LEAST)
    filled = sorted(lost)
    content = submission_csv(
        found + filled, np.concatenate([*parts, np.tile(prior, (len(filled), 1))]), model.labels, rows
    )
    with written(out) as file:
        file.write(content)
    for why in sorted(set(lost.values())):
        print(f"prevalences on val, {why}: {_named(name for name in filled if lost[name] == why)}")
    print(f"variant {variant}: {content.count(chr(10)) - 1:,} rows, {len(filled):,} slices of them filled: {out}")


def _rows(order: Path) -> list[str]:
    """The `ID` column of a sample submission; BadInput where it is none."""
    try:
        names: list[str] = read_csv(order)["ID"].to_pylist()
    except (pa.ArrowInvalid, KeyError) as error:
        raise BadInput(f"{order}: is no sample submission with the columns ID,Label ({error})") from None
    if odd := next((name for name in names if name.rpartition("_")[2] not in SUBTYPES), None):
        raise BadInput(f"{order}: row '{odd}' is no ID_<slice>_<subtype>; give Kaggle's sample submission")
    return names


def _lost(rejected: Rejected, slices: dict[str, str], wanted: dict[str, None]) -> dict[str, str]:
    """Wanted slices whose file was refused, and why."""
    return {slices[path]: f"{rule}: {reason}" for path, _, rule, reason in rejected.found if slices[path] in wanted}


def _check(lost: dict[str, str], fill: bool) -> None:
    if lost and not fill:
        first = next(iter(lost))
        raise BadInput(
            f"submission: {len(lost):,} slices have no answer ({_named(lost)}; {first}: {lost[first]}); mend the "
            "files, or repeat with --fill to give them the prevalences on val"
        )


def _named(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED:,} more" if len(every) > NAMED else "")
