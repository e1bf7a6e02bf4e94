import base64
import csv
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t

from evaluation.arms import groups
from evaluation.compare import Comparison, Run, compare
from evaluation.comparison import COLUMNS, About, family, paragraph, write_comparison
from evaluation.parameters import Intervals
from tests.evaluation.made import LABELS
from tests.evaluation.simulated import made_scores, table_of

BASE = made_scores(0, 40)
CNN = {"architecture": "x", "stage": "y", "side": 96, "trained_on": "nothing", "seed": 0}
HEAD = {"side": None, "patch": 1, "projection": None, "encoder": "linear", "paper": None, "seed": 0}
STARTS = {"original": "original", "restyled": "restyled", "translated": "gan-pretrain"}
FLOORS = ("prevalences",)


def made_params() -> dict[str, Any]:
    cnns = {name: {**CNN, "start": start} for name, start in STARTS.items()}
    cnns |= {f"{name}-ct": {**CNN, "start": start, "trained_on": "ct"} for name, start in STARTS.items()}
    variants: dict[str, Any] = {f"{name}-linear": {**HEAD, "cnns": [name]} for name in cnns}
    variants |= {f"{name}-vit": {**HEAD, "cnns": [name], "encoder": "vit"} for name in STARTS}
    variants["two"] = {
        **HEAD, "cnns": ["original-ct", "translated"], "encoder": "vit", "paper": "2-CNN-ViT (ImageNet/GAN)"
    }  # fmt: skip
    corpora = {"original": {"kind": "original"}, "restyled": {"kind": "histogram", "seed": 0}}
    photos = {"imagenet": None, "prepare_photos": {"source": "drawn"}}
    return {"cnns": cnns, "variants": variants, "corpora": corpora, **photos}


def made(gain: float, seeds: int = 3, left_out: dict[str, str] | None = None) -> tuple[Comparison, About]:
    """Arms that are alike, but `gain` on the logits of the frozen translated one under a linear head."""
    params, tables = made_params(), {}
    for seed in range(seeds):
        for number, name in enumerate(params["variants"]):
            skill = 1.5 + (gain if name == "translated-linear" else 0)
            noise = 0.02 * np.random.default_rng([seed, number]).normal(size=BASE.logits.shape)
            logits = skill * (BASE.truth - 0.5) + BASE.logits / 2 + noise
            tables[Run(name, seed, 0)] = table_of(("test", replace(BASE, logits=logits)))
    share = BASE.truth.mean(axis=0)
    flat = np.tile(np.log(share / (1 - share)), (len(BASE.ids), 1))
    tables[Run("prevalences", 0, 0)] = table_of(("test", replace(BASE, logits=flat)))
    arms = groups(params)
    pairs = [pair for group in arms for pair in group.contrasts]
    pairs += [(name, "prevalences") for group in arms if group.primary for name in group.arms.values()]
    found = compare(tables, pairs, LABELS, 1e-15, Intervals(replicates=200, confidence=0.95, seed=0), FLOORS)
    about = About(
        "Data: made up.",
        arms,
        params,
        FLOORS,
        left_out or {},
        [{"name": "seed-0", "commit": "c", "seed": 0, "fold": 0}],
    )
    return found, about


@pytest.fixture(scope="module")
def better() -> tuple[Comparison, About]:
    return made(0.5)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain(page: str) -> str:
    """The words of a page, without its style."""
    bare = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    return re.sub(r"\s+", " ", html.unescape(bare))


def test_a_true_difference_is_claimed_and_no_other(better: tuple[Comparison, About]) -> None:
    words = paragraph(*better)
    assert words.startswith(
        "Data: made up. 3 seeds of everything from the translator on, 1 fold: 320 test slices of 40"
    )
    assert words.index("Claimed, of 4") < words.index("Primary result")  # what may be said comes first
    assert "Bonferroni over 4 contrasts" in words and "\n" not in words
    claims = [f"translated − {arm} (frozen, 100%) better" for arm in ("original", "restyled")]
    assert f"Claimed, of 4 contrasts: {'; '.join(claims)}." in words
    tuned = words[words.index("Fine-tuned CNN") :]
    assert tuned.count("not distinguishable at this size (smallest detectable difference") == 2
    assert words.count("Better than answering with the prevalences: original, restyled, translated.") == 2


def test_without_a_difference_none_is_claimed_and_none_denied() -> None:
    words = paragraph(*made(0.0))
    assert "Claimed" not in words and "worse" not in words and words.count("not distinguishable") == 4
    assert "No difference is claimed, which does not show that there is none: differences below 0." in words


def test_one_seed_claims_nothing_however_large_the_difference() -> None:
    words = paragraph(*made(2.0, seeds=1))
    assert "With one seed no difference is claimed" in words and "intervals over patients alone" in words
    assert words.count("not distinguishable (one seed)") == 4 and "Claimed" not in words and "Better" not in words
    assert "smallest detectable" not in words


def test_what_was_skipped_is_named_with_its_reason_once() -> None:
    reason = "cnns.{}.fraction: 0.01 of 19 patients is 0, fewer than 8; raise it"
    words = paragraph(*made(0.0, left_out={name: reason.format(name) for name in ("a-1", "b-1")}))
    assert words.count("Not run, since 0.01 of 19 patients is 0, fewer than 8: a-1, b-1.") == 1


def test_the_table_has_one_line_a_figure_and_the_familys_interval(
    better: tuple[Comparison, About], tmp_path: Path
) -> None:
    found, about = better
    words = write_comparison(tmp_path / "new", found, about)
    rows = rows_of(tmp_path / "new")
    assert [*rows[0]] == list(COLUMNS)
    assert list(dict.fromkeys(row["kind"] for row in rows)) == ["primary", "arm", "above the floor", "variant", "floor"]
    first = rows[0]
    assert (first["name"], first["baseline"]) == ("translated-linear", "original-linear")
    assert (first["metric"], first["verdict"]) == ("weighted_log_loss", "better")
    value, patients, seeds, freedom = (
        float(first[name]) for name in ("value", "patients_se", "seeds_se", "degrees_of_freedom")
    )
    error = np.hypot(patients, seeds)
    for ends, confidence in ((("low", "high"), 0.95), (("family_low", "family_high"), 1 - 0.05 / 4)):
        half = t.ppf((1 + confidence) / 2, freedom) * error
        np.testing.assert_allclose([float(first[end]) for end in ends], [value - half, value + half], rtol=1e-3)
    limit = (t.ppf(1 - 0.05 / 8, freedom) + t.ppf(0.8, freedom)) * error
    assert float(first["smallest_detectable"]) == pytest.approx(limit, rel=1e-3)
    assert np.mean([float(seed) for seed in first["seeds"].split()]) == pytest.approx(value, rel=1e-3)
    paper = {row["metric"]: row["paper"] for row in rows if (row["kind"], row["name"]) == ("variant", "two")}
    assert paper["weighted_log_loss"] == "0.07754" and paper["mean_accuracy"] == "0.9746" and not paper["mean_auc"]
    content = json.loads((tmp_path / "new/comparison.json").read_text())
    assert (
        content["experiments"] == [{"name": "seed-0", "commit": "c", "seed": 0, "fold": 0}]
        and content["paragraph"] == words
    )
    assert (tmp_path / "new/paragraph.md").read_text() == words + "\n"
    with Image.open(tmp_path / "new/figure.png") as picture:
        assert picture.size[0] > 1000 and len(picture.convert("L").getcolors() or []) > 20


def test_an_interval_that_holds_alone_but_not_in_the_family_is_no_claim(better: tuple[Comparison, About]) -> None:
    found, about = better
    contrasts = []
    for contrast in found.contrasts:
        e, limit = contrast.estimate, 0.0
        if contrast.metric == "weighted_log_loss" and contrast.variant == "translated-linear":
            limit = (t.ppf(0.975, e.degrees_of_freedom) * 1.05) * e.standard_error  # 5 % beyond the 95 % limit
            e = replace(e, value=-limit, low=-limit * (1 + 1 / 1.05), high=-limit * (1 - 1 / 1.05), seeds=(-limit,) * 3)
        contrasts.append(replace(contrast, estimate=e))
    words = paragraph(replace(found, contrasts=contrasts), about)
    assert family(found, about) == pytest.approx(0.9875)
    assert words.count("not distinguishable among so many contrasts") == 2 and "No difference is claimed" in words


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_page_has_both_parts_of_the_variance(seeds: int, tmp_path: Path) -> None:
    found, about = made(0.5, seeds=seeds)
    words = write_comparison(tmp_path, found, about)
    text = (tmp_path / "comparison.html").read_text()
    assert not re.search(r"<script|<link|url\(|@import|https?://|\bNone\b|\bnan\b", text)
    (source,) = re.findall(r'src="([^"]*)"', text)
    assert base64.b64decode(source.removeprefix("data:image/png;base64,"))[:4] == b"\x89PNG"
    page = plain(text)
    assert words in page and "@media print" in text and "seed-0 c 0 0" in page
    rows = [row for row in rows_of(tmp_path) if (row["kind"], row["metric"]) == ("primary", "weighted_log_loss")]
    assert len(rows) == 4
    for row in rows:
        errors = f"{float(row['patients_se']):.4f} "
        errors += f"{float(row['seeds_se']):.4f}" if seeds > 1 else "one seed: unknown"
        ends = " to ".join(f"{float(row[f'family_{end}']):+.4f}".replace("-", "−") for end in ("low", "high"))
        assert f"{ends} {errors} {float(row['smallest_detectable']):.4f} {row['verdict']}" in page
    assert all(name in page for name in about.params["variants"] if name != "two")


def test_shares_are_of_a_half_and_what_no_interval_knows_is_said_once(better: tuple[Comparison, About]) -> None:
    found, about = better
    whole = paragraph(found, about)
    assert "Fine-tuned CNN, linear head, 100% of its half of the train patients: " in whole
    assert "the same for every seed" not in whole
    tenth = paragraph(found, replace(about, groups=[replace(group, fraction=0.1) for group in about.groups]))
    assert "(linear probe), 10% of its half of the train patients: " in tenth
    assert tenth.count("the same for every seed, so their choice is in no interval") == tenth.count("all of val") == 1


def test_tables_without_arms_say_so(better: tuple[Comparison, About], tmp_path: Path) -> None:
    found, about = better
    bare = replace(about, groups=[])
    assert "No primary contrast: params.yaml has no linear head" in write_comparison(tmp_path, found, bare)
    assert {row["kind"] for row in rows_of(tmp_path)} == {"variant", "floor"}
