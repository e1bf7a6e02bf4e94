"""What a comparison leaves: table.csv, comparison.json, figure.png, paragraph.md, and comparison.html with all."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.arms import Group, limits
from evaluation.compare import Comparison, Contrast
from evaluation.comparison_figure import draw
from evaluation.intervals import Estimate, verdict
from evaluation.outputs import METRICS
from evaluation.page import environment, signed
from evaluation.pictures import data_uri
from evaluation.table import PAPER
from evaluation.verdict import LEAD, PREVALENCES, STATES

CLAIMS = ("better", "worse")
Contrasts = Mapping[tuple[str, str], Contrast]  # variant, baseline: of one metric
COLUMNS = (
    "kind", "state", "share_of_patients", "head", "name", "baseline", "metric", "value", "low", "high", "patients_se",
    "seeds_se", "degrees_of_freedom", "smallest_detectable", "family_low", "family_high", "verdict", "seeds", "paper",
)  # fmt: skip


@dataclass(frozen=True)
class About:
    """What was compared."""

    data: str  # sentence on what the data can prove
    groups: Sequence[Group]
    params: Mapping[str, Any]  # the whole of params.yaml
    floors: Sequence[str]
    left_out: Mapping[str, str]  # variant → why it was not run
    experiments: Sequence[Mapping[str, Any]]  # name, commit, seed, fold

    @property
    def primary(self) -> list[tuple[Group, str, str]]:
        """Group, variant and baseline of every primary contrast."""
        return [(group, *pair) for group in self.groups for pair in group.primary]


def write_comparison(folder: Path, found: Comparison, about: About) -> str:
    """Write everything into `folder`; returns the paragraph. `found` has every contrast of `about.groups`, and of the
    arms of primary groups against PREVALENCES.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = paragraph(found, about)
    (folder / "paragraph.md").write_text(words + "\n", encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows(found, about):
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    content = {
        "paragraph": words,
        "experiments": about.experiments,
        "seeds": found.seeds,
        "folds": found.folds,
        "slices": found.slices,
        "patients": found.patients,
        "positive_patients": found.positive_patients,
        "left_out": about.left_out,
        "groups": [asdict(group) for group in about.groups],
        "rows": [asdict(row) for row in found.rows],
        "contrasts": [{**asdict(c), "sentence": c.sentence} for c in found.contrasts],
        "params": about.params,
    }
    (folder / "comparison.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    draw(folder / "figure.png", found, about.groups, about.params, family(found, about), about.data)
    _write_page(folder, words, found, about)
    return words


def _write_page(folder: Path, words: str, found: Comparison, about: About) -> None:
    """comparison.html: all of it without network or scripts, to be read or printed."""
    level = family(found, about)
    by = {(c.variant, c.baseline): c for c in found.contrasts if c.metric == LEAD}
    primary = [
        (group, group.name_of(pair), by[pair].estimate, by[pair].estimate.at(level), _claim(by[pair], level))
        for group in about.groups
        for pair in group.primary
    ]
    page = environment(Path(__file__).parent).get_template("comparison.html.j2").render(
        data=about.data, words=words.removeprefix(about.data), primary=primary, groups=about.groups,
        floors=about.floors, found=found, lead=LEAD, confidence=found.rows[0].estimate.confidence, level=level,
        states=STATES, figure=data_uri(folder / "figure.png"), experiments=about.experiments,
    )  # fmt: skip
    (folder / "comparison.html").write_text(page, encoding="utf-8")


def family(found: Comparison, about: About) -> float:
    """Confidence of each primary interval, so that all hold together at that of one (Bonferroni)."""
    confidence = found.rows[0].estimate.confidence
    return 1 - (1 - confidence) / max(1, len(about.primary))


def rows(found: Comparison, about: About) -> list[dict[str, Any]]:
    """Lines of table.csv: primary contrasts, arms, arms above the floor; then variants (Table 1) and floors.

    The primary contrasts' verdict on LEAD is that of the family's interval; all other verdicts are of one interval
    each and, with so many of them, describe.
    """
    by = {(c.variant, c.baseline, c.metric): c for c in found.contrasts}
    lines: list[dict[str, Any]] = []
    level = family(found, about)
    for group in about.groups:
        place = {"state": group.state, "share_of_patients": group.fraction, "head": group.encoder}
        for pair in group.contrasts:
            for metric in METRICS:
                if contrast := by.get((*pair, metric)):
                    claims = bool(group.primary) and metric == LEAD
                    lines.append(
                        place | _contrast(contrast, "primary" if group.primary else "arm", level if claims else 0)
                    )
        if group.primary:
            pairs = [(variant, PREVALENCES, LEAD) for variant in group.arms.values()]
            lines += [place | _contrast(by[pair], "above the floor", 0) for pair in pairs]
    for row in found.rows:
        if row.metric in METRICS:
            kind = "floor" if row.variant in about.floors else "variant"
            line = {"kind": kind, "name": row.variant, "metric": row.metric, **_figures(row.estimate)}
            lines.append(line | {"paper": _paper(row.variant, row.metric, about.params["variants"])})
    return sorted(lines, key=lambda line: ("primary", "arm", "above the floor", "variant", "floor").index(line["kind"]))


def paragraph(found: Comparison, about: About) -> str:
    """One paragraph that claims no more than the intervals allow."""
    seeds, folds = len(found.seeds), len(found.folds)
    bleeds = found.positive_patients.get("any", 0)
    parts = [
        about.data,
        f"{seeds} seed{'s' * (seeds > 1)} of everything from the translator on, {folds} fold{'s' * (folds > 1)}: "
        f"{found.slices:,} test slices of {found.patients:,} patients, {bleeds:,} of them with a bleed.",
    ]
    if not about.primary:
        return " ".join([*parts, "No primary contrast: params.yaml has no linear head on one CNN in the arms "
                                 "translated and original or restyled; the profile `arms` has."])  # fmt: skip
    confidence, level = found.rows[0].estimate.confidence, family(found, about)
    one, count = len(about.primary) == 1, len(about.primary)
    by = {(c.variant, c.baseline): c for c in found.contrasts if c.metric == LEAD}
    parts.append(_conclusion(about.primary, by, level, seeds))
    parts.append(
        f"Primary result: weighted log loss (lower is better) of one CNN and a linear head, {confidence:.0%} "
        f"intervals over patients{' and seeds' if seeds > 1 else ' alone'}; a difference is claimed where all seeds "
        f"have its sign and its interval at {level:.4g}"
        f"{'' if one else f' (Bonferroni over {count} contrasts)'} is without 0."
    )
    for group in (group for group in about.groups if group.primary):
        parts += _group_words(group, by, level, seeds)
    if said := limits(about.groups):
        parts.append(said)
    reasons: dict[str, list[str]] = {}
    for name, why in about.left_out.items():
        reasons.setdefault(why.partition(": ")[2].partition(";")[0] or why, []).append(name)
    parts += [f"Not run, since {why}: {', '.join(names)}." for why, names in reasons.items()]
    parts.append(
        "Table 1 and Figure 2 are paper-style: their rows mix CNNs that saw CT labels with CNNs that saw none, and are "
        "evidence of nothing about translation. All other contrasts of the table have one interval each and describe."
    )
    return " ".join(parts)


def _group_words(group: Group, by: Contrasts, level: float, seeds: int) -> list[str]:
    """The primary contrasts of a group, and which of its arms stand above the floor."""
    texts = []
    for pair in group.primary:
        limit = by[pair].estimate.at(level).smallest_detectable
        said = _claim(by[pair], level)
        said += f" (smallest detectable difference {limit:.4f})" if seeds > 1 else ""  # patients alone say too little
        texts.append(f"{group.name_of(pair)} {_interval(by[pair].estimate)}, {said}")
    state = "Frozen CNN, linear head (linear probe)" if group.state == "frozen" else "Fine-tuned CNN, linear head"
    words = [f"{state}, {group.share}: {'; '.join(texts)}."]
    if seeds > 1:
        above = [arm for arm, name in group.arms.items() if by[name, PREVALENCES].verdict == "better"]
        words.append(f"Better than answering with the prevalences: {', '.join(above) or 'none of these arms'}.")
    return words


def _conclusion(primary: Sequence[tuple[Group, str, str]], by: Contrasts, level: float, seeds: int) -> str:
    if seeds < 2:
        return "With one seed no difference is claimed: how far training alone moves these figures is not known."
    found = [(group, (variant, baseline)) for group, variant, baseline in primary]
    claims = [
        f"{group.name_of(pair)} ({group.state}, {group.fraction:.0%}) {_claim(by[pair], level)}"
        for group, pair in found
        if _claim(by[pair], level) in CLAIMS
    ]
    if claims:
        return f"Claimed, of {len(found)} contrasts: {'; '.join(claims)}."
    limits = [by[pair].estimate.at(level).smallest_detectable for _, pair in found]
    return (
        "No difference is claimed, which does not show that there is none: differences below "
        f"{min(limits):.4f} to {max(limits):.4f} would mostly have been missed."
    )


def _claim(contrast: Contrast, level: float) -> str:
    """One of CLAIMS, or why neither may be said."""
    said = verdict(contrast.estimate.at(level), contrast.higher_is_better)
    if said in CLAIMS:
        return said
    if contrast.verdict in CLAIMS:
        return "not distinguishable among so many contrasts"
    reason = said.removeprefix("not shown: ")
    return f"not distinguishable {'at this size' if reason.startswith('the interval') else f'({reason})'}"


def _interval(found: Estimate) -> str:
    parts = f"patients {found.patients_se:.4f}"
    if found.seeds_se is not None:
        parts += f", seeds {found.seeds_se:.4f}"
    ends = f"{signed(found.low, 4)} to {signed(found.high, 4)}"
    return f"{signed(found.value, 4)} ({ends}; standard errors: {parts})"


def _contrast(contrast: Contrast, kind: str, level: float) -> dict[str, Any]:
    line: dict[str, Any] = {
        "kind": kind,
        "name": contrast.variant,
        "baseline": contrast.baseline,
        "metric": contrast.metric,
    }
    line |= _figures(contrast.estimate)
    if not level:
        return line | {"smallest_detectable": contrast.smallest_detectable, "verdict": contrast.verdict}
    wide = contrast.estimate.at(level)
    line |= {"family_low": wide.low, "family_high": wide.high, "smallest_detectable": wide.smallest_detectable}
    return line | {"verdict": _claim(contrast, level)}


def _figures(found: Estimate) -> dict[str, Any]:
    figures = {k: v for k, v in found.as_dict().items() if v is not None}
    return figures | {"seeds": " ".join(f"{seed:.6g}" for seed in found.seeds)}


def _paper(variant: str, metric: str, variants: Mapping[str, Any]) -> float | str:
    row = PAPER.get(variants.get(variant, {}).get("paper") or "")
    return {LEAD: row.loss, "mean_accuracy": row.accuracy}.get(metric, "") if row else ""
