import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from corpus.card import read_card, write_card
from evaluation.report import Sources
from stages import floors
from stages.report import run
from stages.run import Job
from tests.evaluation.jobs import make_job
from tests.evaluation.made import CNNS, HU_SIDE, VARIANTS, make_above, make_split
from tests.stages.test_floors import FLOORS, INTERVALS
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
    parameters = {"floors": FLOORS, "evaluate": INTERVALS, "prepare_ct": {"hu_side": HU_SIDE}}
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


def test_one_page_without_network_or_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_report(tmp_path, monkeypatch).out("artifacts/report")
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
    assert len(page.sources) == 10  # figure 2, AUC by size, samples, audit, three sheets, three curves
    assert all(base64.b64decode(s.partition(",")[2])[:4] == b"\x89PNG" for s in page.sources)
    assert not re.search(r"url\(|@import|https?://", text)


def test_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_report(tmp_path, monkeypatch).out("artifacts/report")
    text = (folder / "report.html").read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", text, flags=re.S)))
    assert (
        words.index("prove nothing about CT")
        < words.index("Table 1")
        < words.index("Figure 2")
        < words.index("Provenance")
    )
    assert "Pretraining on translated photos &lt;test&gt;" in text and "Not a medical device" in words
    assert "81 files → 1 rejected (truncated: 1) → 80 slices in 20 series of 20 patients" in words
    assert "drawn photos → CT, translated drawn photos; 6×6×2048" in words and "By lesion size" in words
    assert "2-CNN-ViT (ImageNet/GAN) 7×7×2048" in words and "97.46 %" in words and "0.07754" in words
    assert "after 1,000 images" in words and "retrieval.interval" in words and "histogram" not in words
    assert "split abababababababab" in words and "0123456789abcdef" in words
    assert "None" not in words
    assert "prove nothing about CT" in read_card(folder, "report")["data"]


def test_it_opens_no_label_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    whole = Path.open

    def watched(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(self))
        return whole(self, *args, **kwargs)

    made_report(tmp_path, monkeypatch)
    for file in (tmp_path / "artifacts/split").glob("labels-*"):
        file.unlink()
    job = make_job(tmp_path / "again", monkeypatch, "report", PARAMETERS, INPUTS, ["artifacts/report"])
    for path in (tmp_path / "artifacts").iterdir():
        if not path.name.startswith("."):
            (tmp_path / "again/artifacts" / path.name).symlink_to(path)
    monkeypatch.setattr(Path, "open", watched)
    run(job)
    assert opened and not any("labels-" in path for path in opened)


def test_the_same_artifacts_give_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [
        (made_report(tmp_path / name, monkeypatch).out("artifacts/report") / "report.html").read_bytes()
        for name in "ab"
    ]
    assert pages[0] == pages[1]


def test_artifacts_that_a_graph_may_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = [
        path
        for path in INPUTS
        if not path.startswith(("artifacts/gan", "artifacts/audit", "artifacts/translated", "artifacts/cnns"))
    ]
    folder = made_report(tmp_path, monkeypatch, lacking).out("artifacts/report")
    assert "The translator" not in (folder / "report.html").read_text()


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
