"""How real are the phantoms: their slices beside real ones, figure by figure.

    python -m benchmarks.phantom_realism --real DIR [--patients 30] [--out benchmarks/results/phantom_realism]

`--real`: a folder of the competition's layout, or any folder of head CT. Phantoms are drawn from params.yaml with whole
series of 34 slices and without planted oddities, written as DICOM and read back. Of each patient at most 8 slices with
at least 40 cm² of brain are measured, evenly over its heights; a figure is their median. What is compared is the spread
over patients. `tell` is the AUC with which the figure alone separates the two sets of patients: 0.5 tells nothing.
"""

import json
import platform
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import pydicom
import torch

from benchmarks.realism_figures import LEAST_BRAIN, auc, brain_mask, slice_figures
from benchmarks.realism_pictures import Picture, histograms, montage, probe_pictures, spectra, spreads
from benchmarks.realism_probe import linear, overlay, probe
from corpus.contact_sheet import contact_sheet
from corpus.workers import Progress
from ct.labels import LABELS
from ct.phantom import make
from ct.phantom_parameters import PhantomCt
from settings.errors import BadInput
from settings.loader import load_yaml, read_section

Array = npt.NDArray[np.floating[Any]]
SERIES = 34  # slices of a series, as the competition's median
MEASURED = 8  # slices of a patient, at most


class Scan(NamedTuple):
    """One slice as read."""

    id: str
    patient: str
    position: float  # mm along the slice normal
    spacing: float  # mm
    path: Path

    def hu(self) -> npt.NDArray[np.float32]:
        """Hounsfield units, at least -1024."""
        data = pydicom.dcmread(self.path)
        value = data.pixel_array.astype(np.float32) * float(data.RescaleSlope) + float(data.RescaleIntercept)
        return np.asarray(value.clip(-1024), np.float32)


class Patient(NamedTuple):
    """What was measured of one patient."""

    name: str
    scans: list[Scan]  # by height, from the base
    figures: list[dict[str, float]]  # of the measured ones
    measured: list[Scan]


def scans_of(folder: Path) -> dict[str, list[Scan]]:
    """The slices below a folder by patient, from the base upwards; BadInput where there are none."""
    found: dict[str, list[Scan]] = {}
    for path in sorted(folder.rglob("*.dcm")):
        with warnings.catch_warnings():  # the competition's `ID_…` are no valid UIDs
            warnings.filterwarnings("ignore", "Invalid value for VR UI")
            data = pydicom.dcmread(path, stop_before_pixels=True)
            name = str(data.SOPInstanceUID)
        row, column = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
        position = float(np.dot(np.cross(row, column), np.array(data.ImagePositionPatient, float)))
        scan = Scan(name, str(data.PatientID), position, float(data.PixelSpacing[0]), path)
        found.setdefault(scan.patient, []).append(scan)
    if not found:
        raise BadInput(f"no .dcm below {folder}; name a folder of head CT")
    return {name: sorted(scans, key=lambda s: s.position) for name, scans in sorted(found.items())}


def labels_in(folder: Path) -> dict[str, tuple[int, ...]]:
    """Labels by slice, in the order of LABELS, from the competition's CSV in a folder; empty where there is none."""
    rows: dict[str, dict[str, int]] = {}
    for path in folder.glob("stage_2_train.csv"):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            name, value = line.rsplit(",", 1)
            slice_id, label = name.rsplit("_", 1)
            rows.setdefault(slice_id, {})[label] = int(float(value))
    return {name: tuple(row[label] for label in LABELS) for name, row in rows.items() if len(row) == len(LABELS)}


def measure(scans: dict[str, list[Scan]], what: str) -> list[Patient]:
    """Figures of each patient's slices that show brain, at most MEASURED of them, evenly over their heights."""
    patients, progress = [], Progress("phantom-realism", f"{what} patients measured", len(scans))
    for name, own in scans.items():
        areas = [float(brain_mask(s.hu(), s.spacing).sum()) * s.spacing**2 / 100 for s in own]
        with_brain = [s for s, area in zip(own, areas, strict=True) if area >= LEAST_BRAIN]
        at = sorted({round(v) for v in np.linspace(0, len(with_brain) - 1, min(MEASURED, len(with_brain)))})
        chosen = [with_brain[j] for j in at]
        patients.append(Patient(name, own, [slice_figures(s.hu(), s.spacing) for s in chosen], chosen))
        progress.add(1)
    return [p for p in patients if p.figures]


def by_patient(patients: list[Patient]) -> dict[str, Array]:
    """Each figure's value of each patient: the median over its slices that have it, NaN where none has."""
    names = list(patients[0].figures[0])
    found = {}
    for name in names:
        values = [[v for row in p.figures if np.isfinite(v := row.get(name, np.nan))] for p in patients]
        found[name] = np.array([np.median(v) if v else np.nan for v in values])
    return found


def compared(real: Array, drawn: Array) -> dict[str, Any]:
    """Quantiles of a figure over both sets of patients, whether the drawn ones lie inside, and what it tells."""
    real, drawn = real[np.isfinite(real)], drawn[np.isfinite(drawn)]
    if len(real) < 3 or len(drawn) < 3:
        return {"real": None, "drawn": None, "median_inside": None, "range_inside": None, "tell": None}
    (a, b, c), (d, e, f) = np.quantile(real, (0.05, 0.5, 0.95)), np.quantile(drawn, (0.05, 0.5, 0.95))
    return {
        "real": [float(v) for v in (a, b, c)],
        "drawn": [float(v) for v in (d, e, f)],
        "median_inside": bool(a <= e <= c),
        "range_inside": bool(a <= d and f <= c),
        "tell": float(abs(auc(drawn, real) - 0.5) + 0.5),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The comparison as text, the figures that tell most first."""
    lines = [f"{'figure':<18}{'real 5 / 50 / 95 %':>28}{'phantom 5 / 50 / 95 %':>30}   median range  tell"]
    for name, row in sorted(rows.items(), key=lambda item: -(item[1]["tell"] or 0)):
        if row["real"]:
            real, drawn = (" ".join(f"{v:8.3g}" for v in row[k]) for k in ("real", "drawn"))
            flags = ["inside" if row[k] else "NOT" for k in ("median_inside", "range_inside")]
            lines.append(f"{name:<18}{real:>28}{drawn:>30}   {flags[0]:<7}{flags[1]:<7}{row['tell']:.2f}")
    return "\n".join(lines)


def floor_aucs(patients: list[Patient], labels: dict[str, tuple[int, ...]]) -> dict[str, float]:
    """AUC of the hyperdense area for each label, over the measured slices that have labels."""
    pairs = [
        (row["hyperdense"], labels[s.id])
        for p in patients
        for s, row in zip(p.measured, p.figures, strict=True)
        if s.id in labels and np.isfinite(row.get("hyperdense", np.nan))
    ]
    score, truth = np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])
    return {name: auc(score[truth[:, i] == 1], score[truth[:, i] == 0]) for i, name in enumerate(LABELS)}


def judged(sets: dict[str, list[Patient]], out: Path) -> dict[str, float]:
    """AUCs of the probes that separate phantom from real slices; their overlays go to `out`.

    `head`: a CNN on whole slices in the brain window. `brain`: with all but the inside of the skull black, and its
    median at 30 HU. `coarse`: as `brain`, blurred to the demo's 96 pixels, where noise hardly counts. `figures`: a
    linear probe on the figures. `texture`: the middle of the brain, pixel by pixel.
    """
    patients = [f"{kind}/{p.name}" for kind, found in sets.items() for p in found for _ in p.measured]
    drawn = np.array([name.startswith("phantom/") for name in patients])
    pictures: list[Picture] = [(s.hu(), s.spacing) for found in sets.values() for p in found for s in p.measured]
    figures = [row for found in sets.values() for p in found for row in p.figures]
    table = np.array([[row.get(name, np.nan) for name in figures[0]] for row in figures])
    result = {"figures": linear(table, drawn, patients, 0)}
    for view in ("head", "brain", "coarse", "texture"):
        values = probe_pictures(pictures, view)
        found = probe(values, drawn, patients, 0)
        result[view] = found.auc
        scale = float(np.quantile(np.abs(found.maps), 0.97))
        shown, captions = [], []
        for kind in (True, False):
            own = np.flatnonzero(drawn == kind)
            for at in own[np.linspace(0, len(own) - 1, 24).astype(int)]:
                shown += [np.repeat(values[at][..., None], 3, axis=2), overlay(values[at], found.maps[at], scale)]
                captions += ["phantom" if kind else "real", f"says {found.answers[at]:+.1f}"]
        contact_sheet(np.stack(shown), captions, 12, cell=160).save(out / f"probe_{view}.png")
        print(f"probe {view}: AUC {found.auc:.3f}", flush=True)
    return result


def drawn_parameters(patients: int) -> PhantomCt:
    """params.yaml's phantoms, with whole series and without planted oddities."""
    section = read_section(PhantomCt, load_yaml(Path("params.yaml")).get("phantom_ct"), "phantom_ct")
    none = section.oddities.model_copy(update=dict.fromkeys(section.oddities.model_dump(), 0))
    return section.model_copy(update={"patients": patients, "slices": SERIES, "oddities": none})


@click.command()
@click.option("--real", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--patients", type=click.IntRange(3), default=30, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="of the probes")
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/phantom_realism"))
def main(real: Path, patients: int, out: Path, threads: int) -> None:
    """Compare drawn head CT with real head CT."""
    torch.set_num_threads(threads)
    parameters = drawn_parameters(patients)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(parameters, folder, 1)
        sets = {"real": measure(scans_of(real), "real"), "phantom": measure(scans_of(folder), "phantom")}
        labels = labels_in(real) | labels_in(folder)
        values = {kind: by_patient(found) for kind, found in sets.items()}
        rows = {name: compared(values["real"][name], values["phantom"][name]) for name in values["real"]}
        text = table(rows)
        floors = {kind: floor_aucs(found, labels) for kind, found in sets.items()}
        series = {
            kind: [[(s.hu(), s.spacing) for s in p.scans] for p in found if len(p.scans) >= 20][:6]
            for kind, found in sets.items()
        }
        montage(series["phantom"], series["real"], (0, 80)).save(out / "montage_brain.png")
        montage(series["phantom"], series["real"], (-500, 1500)).save(out / "montage_bone.png")
        spreads(values["real"], values["phantom"], rows, out / "figures.png")
        chosen = {kind: [(s.hu(), s.spacing) for p in found for s in p.measured[::2]] for kind, found in sets.items()}
        probes = judged(sets, out)
        histograms(chosen["real"], chosen["phantom"], out / "histogram.png")
        spectra(chosen["real"], chosen["phantom"], out / "spectrum.png")
    counts = {kind: {"patients": len(v), "slices": sum(len(p.figures) for p in v)} for kind, v in sets.items()}
    text += "\nmeasured: " + ", ".join(f"{v['slices']} {kind} slices of {v['patients']}" for kind, v in counts.items())
    text += "\n\nAUC of the hyperdense area (50 … 90 HU, per mille of the slice)\n" + "\n".join(
        f"{kind:<9}" + "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        for kind, found in floors.items()
    )
    text += "\n\nAUC of probes told to separate phantom from real slices of patients they never saw\n"
    text += "  ".join(f"{name} {value:.3f}" for name, value in probes.items())
    print(text)
    (out / "figures.txt").write_text(text + "\n", encoding="utf-8")
    result = {
        "counts": counts,
        "figures": rows,
        "hyperdense_auc": floors,
        "probe_auc": probes,
        "parameters": parameters.model_dump(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch", "scikit-learn")},
        "machine": platform.machine(),
    }
    (out / "figures.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
