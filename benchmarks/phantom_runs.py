"""Do the phantom's labels lie as the competition's do: on how many slices in a row, and which of them together?

    python -m benchmarks.phantom_runs [--patients 160] [--full 40] [--workers 2] [--out FILE]

Draws the set that params.yaml asks for (`--patients` of it) for what lies together on a slice, and `--full` positive
patients in full series of 34 slices for the runs. The competition's figures were counted on label tables of 33,994 of
its slices and 6,750 of its series: a convenience sample, so guides and not targets.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ct.phantom import draw_series
from ct.phantom_parameters import PhantomCt
from ct.phantom_plan import planned
from settings.loader import load_yaml, read_section
from settings.machine import processor_name
from settings.places import ROOT

SERIES = 34  # slices of a full series
SHORT = ("EDH", "IPH", "IVH", "SAH", "SDH", "any")
RUNS = {
    "EDH": (2, 5, 12),
    "IPH": (1, 5, 11),
    "IVH": (1, 5, 13),
    "SAH": (1, 4, 16),
    "SDH": (1, 7, 20),
    "any": (1, 7, 19),
}
LABELS_ON_A_SLICE = (0.72, 0.21, 0.055, 0.008)  # one, two, three, four, of the positive slices
TOGETHER = {  # P(second | first) on a slice
    "IPH": {"IVH": 0.30, "SAH": 0.25, "SDH": 0.17},
    "IVH": {"IPH": 0.42, "SAH": 0.33, "SDH": 0.12},
    "SAH": {"IPH": 0.25, "IVH": 0.24, "SDH": 0.24},
    "SDH": {"SAH": 0.21, "IPH": 0.15, "IVH": 0.08},
    "EDH": {"SDH": 0.19, "IPH": 0.15, "SAH": 0.13},
}
Labels = npt.NDArray[np.uint8]  # slices of one series, low to high × 6


def run_lengths(labels: list[Labels]) -> dict[str, list[int]]:
    """By label, the lengths of all runs of positive slices in all series."""
    found: dict[str, list[int]] = {name: [] for name in SHORT}
    for series in labels:
        for name, column in zip(SHORT, series.T, strict=True):
            found[name] += [len(list(run)) for value, run in groupby(column.tolist()) if value]
    return found


def together(labels: list[Labels]) -> dict[str, dict[str, float]]:
    """P(second | first) over all slices, for the five subtypes."""
    rows = np.concatenate(labels)[:, :-1].astype(np.int64)
    both, alone = rows.T @ rows, rows.sum(axis=0)
    return {
        first: {second: both[i, j] / max(1, alone[i]) for j, second in enumerate(SHORT[:-1]) if i != j}
        for i, first in enumerate(SHORT[:-1])
    }


def how_many(labels: list[Labels]) -> list[float]:
    """Share of the positive slices that have one, two, three, four, five labels."""
    rows = np.concatenate(labels)
    count = rows[rows[:, -1] > 0, :-1].sum(axis=1)
    return [float(np.mean(count == n)) for n in range(1, 6)]


def labels_of_patient(parameters: PhantomCt, patient: int) -> Labels:
    """Labels of one patient's slices, extra files left out."""
    return np.array(draw_series(parameters, patient).labels[: parameters.slices], dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=160)
    parser.add_argument("--full", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/phantom_runs.json")
    options = parser.parse_args()
    declared = read_section(PhantomCt, load_yaml(ROOT / "params.yaml")["phantom_ct"], "phantom_ct")
    full = declared.model_copy(update={"slices": SERIES})
    positive = [patient for patient in range(4 * options.full) if planned(full, patient)][: options.full]
    with ProcessPoolExecutor(options.workers) as run:
        short_series = list(run.map(partial(labels_of_patient, declared), range(options.patients), chunksize=4))
        full_series = list(run.map(partial(labels_of_patient, full), positive))
    found = summary(short_series, full_series)
    found["machine"] = {"cpu": processor_name(), "numpy": version("numpy")}
    found["parameters"] = declared.model_dump()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)
    print(f"written: {options.out}")


def summary(short_series: list[Labels], full_series: list[Labels]) -> dict[str, Any]:
    """All figures: of the set as it is made, and of full series."""
    runs = run_lengths(full_series)
    return {
        "patients": len(short_series),
        "positive_slices": dict(zip(SHORT, np.concatenate(short_series).mean(axis=0).tolist(), strict=True)),
        "positive_patients": dict(
            zip(SHORT, np.mean([series.max(axis=0) for series in short_series], axis=0).tolist(), strict=True)
        ),
        "labels_on_a_positive_slice": how_many(short_series),
        "together": together(short_series),
        "full_series": len(full_series),
        "runs": {
            name: {"runs": len(of), "10/50/90 %": np.percentile(of, (10, 50, 90)).tolist() if of else None}
            for name, of in runs.items()
        },
    }


def show(found: dict[str, Any]) -> None:
    """The figures beside the competition's."""
    print(f"{found['patients']} patients as made; in brackets the competition's")
    shares = ", ".join(
        f"{name} {found['positive_slices'][name]:.1%}/{found['positive_patients'][name]:.1%}" for name in SHORT
    )
    print(f"  positive slices/patients: {shares}")
    many = zip(found["labels_on_a_positive_slice"], (*LABELS_ON_A_SLICE, 0), strict=True)
    print(
        "  labels on a positive slice, one to five: " + ", ".join(f"{ours:.1%} ({theirs:.1%})" for ours, theirs in many)
    )
    print("  P(column | row):" + "".join(f"{name:>14}" for name in SHORT[:-1]))
    for first in SHORT[:-1]:
        cells = []
        for second in SHORT[:-1]:
            theirs = TOGETHER[first].get(second)
            ours = "" if first == second else f"{found['together'][first][second]:.2f}"
            cells.append(f"{ours} ({theirs:.2f})" if theirs else ours)
        print(f"  {first:>15} " + "".join(f"{cell:>14}" for cell in cells))
    series = f"{found['full_series']} positive patients in series of {SERIES}"
    print(f"{series}: lengths of runs, 10/50/90 % (the competition's)")
    for name in SHORT:
        of = found["runs"][name]
        ours = "/".join(f"{v:.0f}" for v in of["10/50/90 %"]) if of["runs"] else "none"
        print(f"  {name}: {ours} ({'/'.join(map(str, RUNS[name]))}), {of['runs']} runs")


if __name__ == "__main__":
    main()
