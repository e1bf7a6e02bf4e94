import base64
import csv
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from corpus.card import read_card, write_card
from evaluation.report import Sources
from stages import floors
from stages.report import run
from stages.run import Job
from tests.evaluation.browser import measure
from tests.evaluation.jobs import make_job
from tests.evaluation.made import CNNS, HU_SIDE, LABELS, VARIANTS, make_above, make_split
from tests.stages.test_floors import EVALUATE, FLOORS
from tests.stages.test_floors import INPUTS as FLOOR_INPUTS

INPUTS = [
    *(f"artifacts/{kind}/{name}" for name in VARIANTS for kind in ("evaluation", "vit")),
    *(f"artifacts/cnns/{name}" for name in ("imagenet-b", "imagenet-a")),
    *(f"artifacts/pretrained/{name}" for name in ("photos", "translated")),
    *(
        f"artifacts/{name}"
        for name in ("gan", "audit", "floors", "photos", "translated", "phantom-masks", f"ct/hu-{HU_SIDE}")
    ),
    *(f"artifacts/provenance/{name}.json" for name in ("split-ct", "vit-train@2-cnn")),
    "artifacts/split/parts.parquet",
]
PARAMETERS: dict[str, Any] = {
    "report": {"title": "Pretraining on translated photos <test>", "dpi": 60, "reference": "imagenet-1"},
    "evaluate": {"intervals": {"replicates": 100, "confidence": 0.9, "seed": 0}, "clip": 1e-15},
    "variants": VARIANTS,
    "cnns": CNNS,
    "corpora": {},
    "imagenet": None,
    "prepare_ct": {"source": "phantom", "ids": "hash", "sides": [96], "hu_side": HU_SIDE},
    "prepare_photos": {"source": "drawn"},
}


def made_report(root: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str] = INPUTS) -> Job:
    make_split(root)
    parameters = {"floors": FLOORS, "evaluate": EVALUATE, "prepare_ct": {"hu_side": HU_SIDE}}
    floor_job = make_job(root / "f", monkeypatch, "floors", parameters, FLOOR_INPUTS, ["artifacts/floors"])
    for name in ("ct", "split"):
        (root / "f/artifacts" / name).symlink_to(root / "artifacts" / name)
    floors.run(floor_job)
    floor_job.out("artifacts/floors").rename(root / "artifacts/floors")
    make_above(root)
    job = make_job(root, monkeypatch, "report", PARAMETERS, inputs, ["artifacts/report"])
    run(job)
    return job


class Page(HTMLParser):
    """Tags that are open or wrong, and every address the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout with a finished report in `artifacts/.report.part`."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as monkeypatch:
        made_report(folder, monkeypatch)
        yield folder


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "artifacts/.report.part"


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))


def test_one_page_without_network_or_scripts(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "auc-by-size.csv",
        "auc-by-size.png",
        "card.json",
        "figure2.csv",
        "figure2.png",
        "overlays.png",
        "pointing.csv",
        "report.html",
        "table1.csv",
    ]
    text = (folder / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open and "script" not in page.tags and "link" not in page.tags
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    # figure 2, overlays, AUC by size, samples, audit, three sheets, three curves; a reliability diagram a head
    assert len(page.sources) == 11 + len(VARIANTS)
    assert all(base64.b64decode(s.partition(",")[2])[:4] == b"\x89PNG" for s in page.sources)
    assert not re.search(r"url\(|@import|https?://", text)


def test_what_the_page_says(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    words = words_of(text)
    order = ("prove nothing about CT", "says whether translating helps", "Flow of n", "Table 1", "Figure 2", "By label",
             "Are the probabilities", "What the head looked at", "By lesion size", "Provenance")  # fmt: skip
    assert (places := [words.index(part) for part in order]) == sorted(places)
    assert "Pretraining on translated photos &lt;test&gt;" in text and "Not a medical device" in words
    assert "41 CT files 1 rejected truncated: 1 80 slices 20 series 20 patients" in words
    assert "5 patients are too few to say which heads are below prevalences" in words
    assert "drawn photos → CT, translated drawn photos" in words and "6×6×2048" in words
    assert (
        "2-CNN-ViT (ImageNet/GAN) 7×7×2048" in words
        and "97.46 %" in words
        and "0.07754" in words
        and "310 688 566" in words
        and "31.00" in words
    )
    assert "after 1,000 images" in words and "retrieval.interval" in words and "histogram" not in words
    assert "split abababababababab" in words and "0123456789abcdef" in words
    assert "revision 0123456789ab" in words and "seed 3" in words and "201 s" not in words and "3 min in all" in words
    assert not re.search(r"\b(None|nan)\b", words)
    assert "prove nothing about CT" in read_card(folder, "report")["data"]


def test_differences_to_the_reference_are_paired(root: Path, folder: Path) -> None:
    """Against the mean over slices of the difference of their losses, computed here from the scores."""

    def loss(name: str) -> Any:
        table = pq.read_table(root / f"artifacts/evaluation/{name}/scores.parquet").sort_by("id")
        logit, one = (np.stack([table[prefix + label].to_numpy() for label in LABELS], 1) for prefix in ("logit_", ""))
        p = 1 / (1 + np.exp(-logit.astype(float)))
        return (-np.log(np.where(one > 0, p, 1 - p)) @ [1, 1, 1, 1, 1, 2]).mean() / 7

    with (folder / "table1.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["imagenet-1"]["difference"] == ""
    for name in ("vit", "3-cnn"):
        row = rows[name]
        assert float(row["difference"]) == pytest.approx(loss(name) - loss("imagenet-1"), abs=1e-6)
        assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"])
    assert float(rows["prevalences"]["difference_high"]) > 0


@pytest.mark.parametrize("width", [360, 1000])
def test_tables_fit_their_column_on_a_phone_and_a_desk(folder: Path, width: int, tmp_path: Path) -> None:
    found = measure((folder / "report.html").read_text(), width, tmp_path)
    assert found["page"] <= width, "nothing makes the page scroll sideways"
    assert len(found["tables"]) == 2 and max(found["tables"]) < found["inner"] + 0.1
    assert all(size > 0 and len(alt) > 10 for size, alt in found["pictures"]), "drawn, and described"


def test_the_same_artifacts_give_the_same_page_and_no_label_file_is_opened(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    whole = Path.open

    def watched(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(self))
        return whole(self, *args, **kwargs)

    job = make_job(tmp_path, monkeypatch, "report", PARAMETERS, INPUTS, ["artifacts/report"])
    shutil.copytree(root / "artifacts", tmp_path / "artifacts", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("labels-*", ".*"))  # fmt: skip
    monkeypatch.setattr(Path, "open", watched)
    run(job)
    assert opened and not any("labels-" in path for path in opened)
    again = (job.out("artifacts/report") / "report.html").read_bytes()
    assert again == (folder / "report.html").read_bytes()


def test_arms_and_what_a_graph_may_lack(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heads whose CNNs differ by their corpus, at two shares of the patients; no translator, no masks."""
    arms = {"imagenet-1": "original", "gan-1": "gan-pretrain", "2-cnn": "original", "3-cnn": "gan-pretrain"}
    cnns = {name: {"start": start, "trained_on": "ct", "seed": 0} for name, start in arms.items()}
    shares = {"2-cnn": 0.1, "3-cnn": 0.1}
    variants = {
        name: {**VARIANTS["gan-1"], "paper": None, "cnns": [name], "fraction": shares.get(name, 1)} for name in arms
    }
    lacking = ("artifacts/gan", "artifacts/audit", "artifacts/translated", "artifacts/cnns", "artifacts/phantom-masks")
    inputs = [path for path in INPUTS if not path.startswith(lacking)]
    parameters = {**PARAMETERS, "variants": variants, "cnns": cnns, "corpora": {"original": {"kind": "original"}}}
    job = make_job(tmp_path, monkeypatch, "report", parameters, inputs, ["artifacts/report"])
    ignore = shutil.ignore_patterns(".*")  # the report that is there
    shutil.copytree(root / "artifacts", tmp_path / "artifacts", dirs_exist_ok=True, ignore=ignore)
    run(job)
    folder = job.out("artifacts/report")
    words = words_of((folder / "report.html").read_text())
    assert "The translator" not in words and "By lesion size" not in words and "outlined" not in words
    assert (folder / "label-fractions.png").exists() and not (folder / "pointing.csv").exists()
    assert words.count("translated − original (CNN fine-tuned on CT, vit head") == 2
    assert words.count("one seed: unknown") == 2 and "SE, patients SE, seeds" in words
    assert (
        "vit head; 10% of its half of the train patients" in words
        and words.count("is in no interval. Checkpoints") == 1
    )
    assert "One seed: how far another training" in words and "no row has the same CNN" not in words


def test_what_was_skipped_is_said_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Sources] = []

    def noted(out: Path, sources: Sources, title: str, dpi: int) -> list[Any]:
        given.append(sources)
        return []

    monkeypatch.setattr("stages.report.write_report", noted)
    folders = [path for path in INPUTS if "." not in path]
    for path in folders:
        (tmp_path / path).mkdir(parents=True)
        write_card(tmp_path / path, "skipped" if path.endswith("/2-cnn") else "other", reason="too few patients")
    cnns = {**CNNS, "imagenet-b": {**CNNS["imagenet-b"], "trained_on": "batchnorm"}}
    job = make_job(tmp_path, monkeypatch, "report", {**PARAMETERS, "cnns": cnns}, INPUTS, ["artifacts/report"])
    run(job)
    assert "report: without 2-cnn: too few patients" in capsys.readouterr().out
    (sources,) = given
    assert list(sources.variants) == list(sources.evaluations) == [name for name in VARIANTS if name != "2-cnn"]
    assert list(sources.tuned) == ["imagenet-a"], "a CNN of CT's statistics has no loss to show"
