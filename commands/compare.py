"""`pipeline.py compare`: the whole graph over seeds and folds as DVC experiments, and what may be said of the arms."""

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from commands.declared import check_rendered
from commands.experiments import Experiment, Outs, check_known_to_git, check_same, digest_of, existing, plan, run
from commands.stage import hold_lock
from ct.folds import folds_in
from ct.labels import LABELS
from evaluation.arms import groups, seeds
from evaluation.compare import Run, compare
from evaluation.comparison import About, write_comparison
from evaluation.parameters import Evaluate
from evaluation.table import data_sentence
from settings.errors import BadParameter
from settings.loader import load_yaml, read_section
from settings.places import ROOT
from stages.graph import Declaration, declarations
from stages.nodes import validate

OURS = ("seed", "split_ct.fold", "split_ct.folds")  # parameters that `compare` sets itself
Tables = dict[Run, pa.Table]


def compare_arms(seed_count: int, fold_count: int, settings: Sequence[str], dry: bool, out: Path) -> None:
    """Run the experiments that are not there yet, then write what they say together to the folder `out`.

    `fold_count` of 1 is the split of params.yaml as it is; more: the patients in so many folds, each test once.
    `settings`: KEY=VALUE for all of them, as `dvc exp run -S` takes them. `dry`: list what would run, write nothing.
    """
    params = with_settings(ROOT / "params.yaml", settings)
    split = params["split_ct"]
    if fold_count > 1:
        split |= {"folds": fold_count, "fold": 0}
    folds = [split["fold"]] if fold_count == 1 else list(range(fold_count))
    validate(params)
    check_folds(ROOT, split["file"], fold_count)
    check_rendered(params)
    declared = declarations(params)
    check_known_to_git(ROOT, declared)
    experiments = plan(params, digest_of(ROOT, params, declared), seeds(params, seed_count), folds, settings)
    for line in listing(experiments, existing(ROOT), declared):
        print(line)
    if dry:
        return
    with hold_lock("compare"):
        for number, experiment in enumerate(experiments, 1):
            if experiment.name not in existing(ROOT):
                print(f"compare: experiment {number} of {len(experiments)}: {experiment.name}", flush=True)
                run(ROOT, experiment)
        there = existing(ROOT)
        commits = {experiment.name: there[experiment.name] for experiment in experiments}
        tables, floors, left_out = gather(ROOT, experiments, commits, list(params["variants"]))
        write(params, experiments, commits, tables, floors, left_out, out)


def check_folds(root: Path, file: str | None, count: int) -> None:
    """BadParameter where `file` (split_ct.file) has not the folds 0 … count - 1, each to be tested once."""
    if count == 1 or not file:
        return
    if not (root / file).is_file():
        raise BadParameter(f"split_ct.file: {file} is missing; put it there, or set it to null to have folds dealt")
    found = folds_in((root / file).read_bytes(), file)
    if found != {str(fold) for fold in range(count)}:
        what = f"has the folds {', '.join(sorted(found))}" if found else "fixes the test part, the same for every fold"
        raise BadParameter(f"--folds {count}: split_ct.file {file} {what}; leave --folds out, or name another file")


def listing(
    experiments: Sequence[Experiment], there: Mapping[str, str], declared: Mapping[str, Declaration]
) -> list[str]:
    """A line for each experiment, and how many stages the missing ones have.

    A stage that neither seed nor fold reaches runs once, one that the fold alone reaches once a fold.
    """
    reach = reached(declared)

    def runs(experiment: Experiment) -> set[tuple[str, int | None, int | None]]:
        return {
            (name, experiment.seed if "seed" in by else None, experiment.fold if "fold" in by else None)
            for name, by in reach.items()
        }

    done = {each for experiment in experiments if experiment.name in there for each in runs(experiment)}
    lines, total = [], len(done)
    for experiment in experiments:
        if experiment.name in there:
            lines.append(f"{experiment.name}: is there")
            continue
        new = runs(experiment) - done
        done |= new
        lines.append(f"{experiment.name}: to run, {len(new)} stages of {len(reach)}")
    missing = sum(experiment.name not in there for experiment in experiments)
    return [
        *lines,
        f"{missing} of {len(experiments)} experiments to run, {len(done) - total} stages at most: what DVC's run cache "
        "has is taken from there",
    ]  # fmt: skip


def reached(declared: Mapping[str, Declaration]) -> dict[str, set[str]]:
    """Of each stage, which of "seed" and "fold" change it: by a parameter that it reads, or by what is above it."""
    maker = {out: name for name, stage in declared.items() for out in stage.outs}
    found: dict[str, set[str]] = {}

    def of(name: str) -> set[str]:
        if name not in found:
            stage = declared[name]
            own = {"seed"} & {*stage.params} | {"fold" for key in stage.params if key.partition(".")[0] == "split_ct"}
            found[name] = own.union(*(of(maker[dep]) for dep in stage.deps if dep in maker))
        return found[name]

    return {name: of(name) for name in declared}


def gather(
    root: Path, experiments: Sequence[Experiment], commits: Mapping[str, str], variants: Sequence[str]
) -> tuple[Tables, list[str], dict[str, str]]:
    """Score tables of all variants and floors; the floors' names; why a variant is left out.

    A variant that a stage skipped in one experiment is left out of all. Floors, which no seed changes, are read from
    the first seed. `commits`: of each experiment by name.
    """
    tables: Tables = {}
    floors: list[str] = []
    left_out: dict[str, str] = {}
    first = experiments[0].seed
    for experiment in experiments:
        commit = commits[experiment.name]
        check_same(root, experiment, commit)
        outs = Outs(root, experiment, commit)
        for name in variants:
            folder = f"artifacts/evaluation/{name}"
            card = json.loads(outs.read(f"{folder}/card.json"))
            if card["kind"] == "skipped":
                left_out[name] = card["reason"]
            else:
                tables[Run(name, experiment.seed, experiment.fold)] = _table(outs, f"{folder}/scores.parquet")
        if experiment.seed == first:
            floors = json.loads(outs.read("artifacts/floors/card.json"))["floors"]
            for name in floors:
                tables[Run(name, first, experiment.fold)] = _table(outs, f"artifacts/floors/scores-{name}.parquet")
    return {key: table for key, table in tables.items() if key.variant not in left_out}, floors, left_out


def write(
    params: dict[str, Any], experiments: Sequence[Experiment], commits: Mapping[str, str], tables: Tables,
    floors: Sequence[str], left_out: Mapping[str, str], out: Path,
) -> None:  # fmt: skip
    """What `write_comparison` leaves, and the paragraph on the screen."""
    evaluate = read_section(Evaluate, params["evaluate"], "evaluate")
    ran = {**params, "variants": {name: v for name, v in params["variants"].items() if name not in left_out}}
    arms = groups(ran)
    pairs = [pair for group in arms for pair in group.contrasts]
    pairs += [(name, "prevalences") for group in arms if group.primary for name in group.arms.values()]
    pairs = list(dict.fromkeys(pairs))
    found = compare(tables, pairs, LABELS, evaluate.clip, evaluate.intervals, floors)
    data = data_sentence(params["prepare_ct"]["source"], params["prepare_photos"]["source"], runs=len(experiments))
    used = [{"name": e.name, "commit": commits[e.name], "seed": e.seed, "fold": e.fold} for e in experiments]
    words = write_comparison(out, found, About(data, arms, params, floors, dict(left_out), used))
    Console(width=120, highlight=False, markup=False).print(f"\n{words}\n\ncompare: {out}")


def _table(outs: Outs, path: str) -> pa.Table:
    return pq.read_table(io.BytesIO(outs.read(path)))


def with_settings(path: Path, settings: Sequence[str]) -> dict[str, Any]:
    """params.yaml with settings, by DVC's own rules."""
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    for setting in settings:
        key, equals, _ = setting.partition("=")
        if not equals or key.lstrip("+~") in OURS:
            raise BadParameter(f"-S {setting}: must be KEY=VALUE, and no KEY of {', '.join(OURS)}: compare sets these")
    if not settings:
        return load_yaml(path)
    with TemporaryDirectory() as folder:
        changed = Path(shutil.copy(path, folder))
        try:
            apply_overrides(changed, list(settings))
        except DvcException as error:
            raise BadParameter(f"-S {' '.join(settings)}: {' '.join(str(error).split())}") from None
        return load_yaml(changed)
