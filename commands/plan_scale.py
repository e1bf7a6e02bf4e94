"""`pipeline.py plan --scale`: what a run would take, from what a smaller one took on the same machine."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from settings.errors import BadParameter
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.places import ROOT
from stages.nodes import validate
from stages.scale import Counts, Machine, Measured, Row, drawn_counts, loads, predict

# RSNA 2019's stage 2 training set, and ILSVRC 2012's train and val parts, through the paper's parameters.
RSNA_IMAGENET = Counts(752_803, 1_281_167, 50_000)
MANIFESTS = ("data/ct.csv", "data/photos.csv")
OWN, SHIPPED = Path("work/machine.json"), Path("benchmarks/results/machine.json")  # --measure's, and the project's


def write_machine(given: Path | None) -> None:
    """Write what the stages of this checkout took, by their provenance and `params.yaml`; BadParameter for none."""
    path = given or ROOT / OWN
    params = load_yaml(ROOT / "params.yaml")
    validate(params)
    machine = machine_of(params, counts_of(params, "params.yaml"), ROOT / "artifacts")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(machine.model_dump(), indent=1) + "\n", encoding="utf-8")
    print(f"{len(machine.stages)} stages measured: {path}")


def machine_of(params: dict[str, Any], counts: Counts, artifacts: Path) -> Machine:
    """This machine, by the provenance of stages that ran on it with these parameters; others are left out."""
    records, others = {}, []
    for file in sorted((artifacts / "provenance").glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record.get("processor") != processor_name() or not _part_of(record["parameters"], params):
            others.append(record["stage"])
        elif "seconds" in record:
            records[record["stage"]] = record
    networks = [record for record in records.values() if "computing" in record]
    computed = Counter(json.dumps(_how(record)) for record in networks).most_common(1)
    for record in networks:
        if json.dumps(_how(record)) != computed[0][0]:
            others.append(record["stage"])
            del records[record["stage"]]
    if others:
        print(f"left out, run elsewhere, otherwise or with other parameters: {', '.join(others)}")
    networks = [record for record in networks if record["stage"] in records]
    if not networks:
        raise BadParameter(
            "plan --measure: no stage with networks has run here with params.yaml as it is; "
            "run `dvc repro` with the demo's profile first"
        )
    computing = networks[0]["computing"]
    ranks = int(computing["ranks"])
    ran = [
        (load, records[load.stage])
        for load in loads(params, counts, ranks)
        if load.stage in records and (load.unit != "FLOP" or "computing" in records[load.stage])  # else it was skipped
    ]
    # A mean of logits trains nothing, so where there is one its stage is a start and no more.
    start_s = min((record["seconds"] for load, record in ran if load.unit == "FLOP"), default=0.0)
    measured = []
    for load, record in ran:
        shortest = min(other["seconds"] for kin, other in ran if kin.rate == load.rate)
        measured.append(
            Measured(
                **{name: getattr(load, name) for name in ("stage", "rate", "unit", "work", "size", "batch_flops")},
                seconds=record["seconds"],
                fixed_s=min(start_s, shortest) if "computing" in record else 0,
                memory_mb=record.get("memory_mb"),
            )
        )
    return Machine(
        command="python pipeline.py plan --measure",
        revision=next(iter(records.values())).get("revision", ""),
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        memory_gb=psutil.virtual_memory().total / 1e9,
        device=computing["torch_device"].partition(":")[0],
        devices=ranks,
        precision=computing["precision"],
        start_s=start_s,
        start_mb=min(record.get("memory_mb", 1e3) for record in networks),
        stages=tuple(measured),
    )


def print_scale(what: str, given: Path | None) -> None:
    """Print what a run of these parameters would take on the machine that the file describes.

    Without one: on this machine, once --measure has been here; before, on the one whose rates the project comes with.
    """
    own = ROOT / OWN
    path = given or (own if own.is_file() else ROOT / SHIPPED)
    if path == ROOT / SHIPPED:
        print(f"by the rates in {SHIPPED}: of another machine, perhaps; `pipeline.py plan --measure` takes this one's")
    if not path.is_file():
        raise BadParameter(f"--machine: there is no {path}; run `python pipeline.py plan --measure` after a demo")
    machine = read_section(Machine, json.loads(path.read_text(encoding="utf-8")), path.name)
    params, counts = asked(what)
    rows = [predict(load, machine) for load in loads(params, counts, machine.devices)]
    console = Console(width=160, soft_wrap=True, highlight=False)
    console.print(
        f"{what}: {counts.slices:,} slices, {counts.photos:,} + {counts.held_out:,} photos, on {machine.processor}, "
        f"{machine.cores} cores, {machine.devices} × {machine.device} in {machine.precision}"
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "time", "disk GB", "RAM GB", f"{machine.device} h", "rate"):
        table.add_column(heading, justify="left" if heading in ("stage", "rate") else "right", no_wrap=True)
    for row in rows:
        table.add_row(row.stage, *cells(row))
    total = total_of(rows)
    table.add_section()
    table.add_row(total.stage, *cells(total))
    console.print(table)
    if unknown := [row.stage for row in rows if row.seconds is None]:
        console.print(f"nothing like it was measured, so not in the sum: {', '.join(unknown)}")
    console.print(
        "measured: the rate of the same networks and sizes; extrapolated: of others, by FLOPs or pixels. One stage "
        "after another; disk: artifacts, without raw data, DVC's cache where it copies, and training states."
    )


def asked(what: str) -> tuple[dict[str, Any], Counts]:
    """The parameters and counts that `--scale` names."""
    path = Path(what)
    if what == "rsna-imagenet":
        path = ROOT / "profiles/paper.yaml"
    elif (profile := ROOT / f"profiles/{what}.yaml").is_file():
        path = profile
    elif not path.is_file():
        known = ", ".join(["rsna-imagenet", *sorted(file.stem for file in (ROOT / "profiles").glob("*.yaml"))])
        raise BadParameter(f"--scale: '{what}' is no file and none of {known}")
    params = load_yaml(path)
    validate(params)
    return params, RSNA_IMAGENET if what == "rsna-imagenet" else counts_of(params, what)


def _how(record: dict[str, Any]) -> list[Any]:
    """What decides how fast a stage's networks run, beside the processor."""
    return [record["computing"].get(name) for name in ("torch_device", "precision", "ranks")]


def _part_of(part: Any, whole: Any) -> bool:
    """Whether nested dictionaries lie in others."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _part_of(value, whole[key]) for key, value in part.items())
    return bool(part == whole)


def counts_of(params: dict[str, Any], what: str) -> Counts:
    """How much data parameters name: drawn, or as the manifests list it (a quarter of the photos held out)."""
    counts = drawn_counts(params)
    listed = {}
    for name, present in zip(MANIFESTS, (counts.slices, counts.photos), strict=True):
        if present:
            continue
        if not (ROOT / name).is_file():
            raise BadParameter(f"{what}: reads folders, and {name} is missing; run `python pipeline.py manifest`")
        listed[name] = sum(1 for _ in (ROOT / name).open(encoding="utf-8")) - 1
    photos = listed.get(MANIFESTS[1], 0)
    return Counts(
        counts.slices or listed[MANIFESTS[0]], counts.photos or photos - photos // 4, counts.held_out or photos // 4
    )


def total_of(rows: list[Row]) -> Row:
    """Sums; the largest memory."""
    hours = sum(row.device_hours or 0 for row in rows)
    memory = max((row.memory_mb for row in rows if row.memory_mb), default=None)
    seconds = sum(row.seconds or 0 for row in rows)
    return Row("in all", seconds, sum(row.bytes for row in rows), memory, hours, "")


def cells(row: Row) -> tuple[str, ...]:
    """A row for the terminal."""
    return (
        "?" if row.seconds is None else _duration(row.seconds),
        f"{row.bytes / 1e9:.2f}" if row.bytes else "",
        "" if row.memory_mb is None else f"{row.memory_mb / 1e3:.1f}",
        "" if row.device_hours is None else f"{row.device_hours:,.2f}",
        row.basis,
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
