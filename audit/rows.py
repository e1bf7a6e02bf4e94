"""The audit as rows: a figure, its interval, what it stands between, a verdict, and what it is believed for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from audit.intervals import apart, difference, verdict
from audit.measure import Measured
from audit.probe import CONDITIONS

CHANGES_NOTHING = "photos in grey through the same windows: a translator that changes nothing"


@dataclass(frozen=True)
class Row:
    """One line of the audit. Figures are in `unit`; None where the corpus cannot have it (`verdict` says why)."""

    key: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str  # "%", "HU", "10⁻³", "levels", ""
    floor: tuple[str, float | None]  # what is had for nothing
    ceiling: tuple[str, float | None]  # the best that can be hoped for
    verdict: str
    believed: str  # one sentence
    core: bool = True


def rows(measured: Measured, confidence: float) -> list[Row]:
    """Core rows in the order of trust, then the secondary one."""
    figures = measured.figures
    found = [_retrieval(measured, confidence)]
    found += [_probe(measured, condition, confidence) for condition in CONDITIONS]
    found += [_kid(name, kid) for name, kid in figures["kid"].items()]
    found += [_hounsfield(part, figures["hounsfield"]) for part in ("all", "brain")]
    found += [_consistency(figures["consistency"]), _diversity(figures["diversity"])]
    if figures["agreement"]:
        found.append(_agreement(measured, confidence))
    return found


def as_json(found: list[Row]) -> list[dict[str, Any]]:
    """Rows for `audit.json`."""
    return [asdict(row) for row in found]


def headline(found: list[Row]) -> dict[str, float]:
    """The four figures that become columns of `dvc exp show`, in the rows' units."""
    by_key = {row.key: row.value for row in found}
    wanted = ("retrieval_8", "probe_clean", "probe_jpeg", "kid_crops" if "kid_crops" in by_key else "kid_full")
    return {key: value for key in wanted if (value := by_key[key]) is not None}


def in_words(found: list[Row]) -> list[str]:
    """The audit as lines to print."""
    return [f"{row.name}: {figure(row)}; {row.verdict}" for row in found]


def figure(row: Row) -> str:
    """Value and interval with the unit."""
    if row.value is None:
        return "n/a"
    text = f"{number(row.value, row.unit)}{_suffix(row.unit)}"
    if row.low is None or row.high is None:
        return text
    return f"{text} ({number(row.low, row.unit)} to {number(row.high, row.unit)})"


def number(value: float, unit: str) -> str:
    """A figure in text: three significant digits of KID, whose scale is its features'; else one digit behind the point,
    or two where there is no unit."""
    return f"{value:.3g}" if unit == "10⁻³" else f"{value:.{1 if unit else 2}f}"


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""


def _share(
    key: str, name: str, found: Mapping[str, Any], floor: tuple[str, float], ceiling: tuple[str, float],
    stands: str, believed: str, core: bool = True,
) -> Row:  # fmt: skip
    value, low, high = (100 * found[end] for end in ("share", "low", "high"))
    ends = (floor[0], 100 * floor[1]), (ceiling[0], 100 * ceiling[1])
    return Row(key, name, value, low, high, "%", *ends, stands, believed, core)


def _retrieval(measured: Measured, confidence: float) -> Row:
    found = measured.figures["retrieval"]
    cells, chance = found["cells_8"], found["chance"]
    ours, ceiling = measured.retrieval["translated"], measured.retrieval["grey_windowed"]
    to_floor = (cells["translated"]["low"] - chance, cells["translated"]["high"] - chance)
    stands = verdict(to_floor, difference(ours, ceiling, confidence))
    return _share(
        "retrieval_8", "retrieval of the photo by 8×8 gradients, after blur and noise", cells["translated"],
        ("chance", chance), (CHANGES_NOTHING, cells["grey_windowed"]["share"]), stands,
        "That each translation is of its own photo and not one picture for all; of fine detail it says nothing.",
    )  # fmt: skip


def _probe(measured: Measured, condition: str, confidence: float) -> Row:
    hits, found = measured.probe[condition], measured.figures["probe"][condition]
    stands = verdict(
        difference(hits["translated"], hits["permuted"], confidence),
        difference(hits["translated"], hits["grey_windowed"], confidence),
    )
    believed = {
        "clean": "That classes can still be told apart in the translated photos, hidden detail included.",
        "blur": "That what tells classes apart is more than faint fine detail.",
        "noise": "That what tells classes apart is contrast enough to stand noise.",
        "jpeg": "That what tells classes apart would outlive a lossy picture format, as hidden detail would not.",
    }
    return _share(
        f"probe_{condition}", f"probe trained on translated, tested on held-out translated, {CONDITIONS[condition]}",
        found["translated"], ("the same with permuted labels", found["permuted"]["share"]),
        (CHANGES_NOTHING, found["grey_windowed"]["share"]), stands, believed[condition],
    )  # fmt: skip


def _kid(name: str, kid: Mapping[str, Any]) -> Row:
    ours, unlearnt, ct = kid["kinds"]["translated"], kid["kinds"]["grey_windowed"], kid["ct"]
    low, high = apart(unlearnt["low"], unlearnt["high"], ours["low"], ours["high"])
    to_ceiling = apart(ct["low"], ct["high"], ours["low"], ours["high"]) if ct else None
    stands = verdict((low, high), to_ceiling)
    if kid["descriptive"]:
        stands = f"descriptive below 20 patients ({kid['patients']} here): {stands}"
    value, low, high = (1000 * ours[end] for end in ("kid", "low", "high"))
    what = "crops inside the head" if name == "crops" else "whole slices"
    return Row(
        f"kid_{name}", f"KID to CT, {what}", value, low, high, "10⁻³",
        (CHANGES_NOTHING, 1000 * unlearnt["kid"]),
        ("CT from CT, other patients", 1000 * ct["kid"] if ct else None), stands,
        "How near the look is to CT's, as a CNN trained on photos sees it; less than the interval says nothing.",
    )  # fmt: skip


def _hounsfield(part: str, hounsfield: Mapping[str, Any] | None) -> Row:
    name = f"Hounsfield histogram, {'all pixels' if part == 'all' else 'what looks like brain'}, distance from CT"
    believed = (
        "That tissues have CT's values; not that they are where they belong."
        if part == "all"
        else "That what looks like brain has brain's values, however much of the picture it is."
    )
    worst = "one val patient from the others, at most"
    if hounsfield is None:
        why = "n/a: three free channels are no Hounsfield units; see window consistency"
        return Row(f"hu_{part}", name, None, None, None, "HU", (CHANGES_NOTHING, None), (worst, None), why, believed)
    ours, unlearnt = hounsfield[part]["translated"], hounsfield[part]["grey_windowed"]
    spread = ours["between_patients"]
    if ours["distance"] is None or unlearnt["distance"] is None:
        why = "n/a: no translated pixel, or none of CT, is in the band"
        return Row(f"hu_{part}", name, None, None, None, "HU", (CHANGES_NOTHING, None), (worst, None), why, believed)
    stands = verdict(
        apart(unlearnt["low"], unlearnt["high"], ours["low"], ours["high"]),
        (spread["largest"] - ours["high"], spread["largest"] - ours["low"]) if spread else None,
    )
    if spread and ours["distance"] <= spread["largest"]:
        stands += "; within the spread between patients"
    return Row(
        f"hu_{part}", name, ours["distance"], ours["low"], ours["high"], "HU", (CHANGES_NOTHING, unlearnt["distance"]),
        (worst, spread["largest"] if spread else None), stands, believed,
    )  # fmt: skip


def _consistency(found: Mapping[str, Any]) -> Row:
    ours, photos = found["translated"], found["photos"]
    if found["by_construction"]:
        stands = "exact: the windows are computed from one channel"
    else:
        stands = verdict(apart(photos["low"], photos["high"], ours["low"], ours["high"]), (-ours["high"], -ours["low"]))
    return Row(
        "consistency", "window consistency: distance from the nearest triple that one HU value gives",
        ours["residual"], ours["low"], ours["high"], "levels", ("colour photos read as windows", photos["residual"]),
        ("windows of one channel", 0.0), stands, "Whether the three windows can be of one Hounsfield value at all.",
    )  # fmt: skip


def _diversity(found: Mapping[str, Any]) -> Row:
    ratio = found["ratio"]
    stands = (
        "not defined: the CT views are all alike"
        if ratio is None
        else verdict((found["low"], found["high"]), (found["low"] - 1, found["high"] - 1))
    )
    return Row(
        "diversity", "diversity, as a ratio to that of CT of different patients", ratio, found["low"], found["high"],
        "", ("one picture for all", 0.0), ("CT", 1.0), stands,
        "That outputs are not all alike; above 1 is no virtue: photos differ more than heads do.",
    )  # fmt: skip


def _agreement(measured: Measured, confidence: float) -> Row:
    found, hits = measured.figures["agreement"], measured.agreement
    chance = found["chance"]
    stands = verdict(
        (found["translated"]["low"] - chance, found["translated"]["high"] - chance),
        difference(hits["translated"], hits["grey_windowed"], confidence),
    )
    squeezed = 100 * found["grey_squeezed"]["share"]
    return _share(
        "agreement", "agreement of the classifier of photos", found["translated"], ("chance", chance),
        (CHANGES_NOTHING, found["grey_windowed"]["share"]), stands,
        "Little: it measures photometry as much as content (grey photos in 20 to 45 HU, every label intact: "
        f"{squeezed:.0f} %).", core=False,
    )  # fmt: skip
