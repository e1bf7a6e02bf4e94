import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from corpus.card import read_card, write_card
from settings.errors import BadArtifact, BadInput, BadParameter, Skipped, TrainingFailed
from settings.loader import Parameters
from stages import run
from stages.run import Job
from tests.commands.untouched import untouched

DECLARED = (
    "stages/fake.py",
    ["artifacts/in"],
    ["stages/run.py"],
    ["fake", "table.a"],
    ["artifacts/out", "artifacts/ids.parquet"],
)
LOADED_HERE = {"corpus/card.py", "settings/errors.py", "settings/loader.py", "settings/places.py", "stages/run.py"}


class Fake(Parameters):
    images: int


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text("fake: {images: 3}\ntable: {a: {x: 1}, b: {x: 2}}\nother: 5\n")
    (tmp_path / "artifacts/in").mkdir(parents=True)
    (tmp_path / "artifacts/in/rows").write_text("rows")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/run.py").write_text("code")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "work_root", lambda: tmp_path / "work")
    return tmp_path


def execute(body: Callable[[Job], None], monkeypatch: pytest.MonkeyPatch) -> run.Prepared:
    module = ModuleType("stages.fake")
    module.run = body  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stages.fake", module)
    prepared = run.prepare("fake", *DECLARED)
    run.work(prepared)
    run.finish(prepared, DECLARED[3])
    return prepared


def writes(job: Job) -> None:
    (job.out("artifacts/out") / "rows").write_text("made")
    job.out("artifacts/ids.parquet").write_text("ids")


def test_outs_and_provenance_are_in_place_after_and_not_before(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(job: Job) -> None:
        writes(job)
        assert not (checkout / "artifacts/out").exists()

    prepared = execute(body, monkeypatch)
    assert (checkout / "artifacts/out/rows").read_text() == "made"
    assert (checkout / "artifacts/ids.parquet").read_text() == "ids"
    record = json.loads((checkout / "artifacts/provenance/fake.json").read_text())
    assert record["parameters"] == {"fake": {"images": 3}, "table": {"a": {"x": 1}}}
    assert record["fingerprint"] == prepared.fingerprint and "torch" in record["versions"]
    assert 10 < record["memory_mb"] < 1e5
    assert 0 <= record["seconds"] < 60 and record["revision"] == "", "this checkout is no git repository"
    assert str(checkout) not in json.dumps(record)
    assert not list((checkout / "artifacts").glob(".*"))


def test_provenance_names_the_commit_and_whether_files_were_edited(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *words], cwd=checkout, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", "params.yaml")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "--short=12", "HEAD").strip()
    for edit, expected in (("", commit), ("# edited\n", f"{commit}-dirty")):
        (checkout / "params.yaml").write_text((checkout / "params.yaml").read_text() + edit)
        execute(writes, monkeypatch)
        assert json.loads((checkout / "artifacts/provenance/fake.json").read_text())["revision"] == expected


def test_a_linked_old_out_is_replaced_not_written_into(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(writes, monkeypatch)
    cached = checkout / "cached"
    cached.hardlink_to(checkout / "artifacts/out/rows")

    def other(job: Job) -> None:
        writes(job)
        (job.out("artifacts/out") / "rows").write_text("newer")

    execute(other, monkeypatch)
    assert cached.read_text() == "made" and (checkout / "artifacts/out/rows").read_text() == "newer"


def test_the_fingerprint_knows_parameters_code_and_inputs_and_nothing_else(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = [run.prepare("fake", *DECLARED).fingerprint]
    (checkout / "params.yaml").write_text("fake: {images: 3}\ntable: {a: {x: 1}, b: {x: 99}}\nother: 6\n")
    assert run.prepare("fake", *DECLARED).fingerprint == prints[0]
    for path, text in (
        ("params.yaml", "fake: {images: 4}\ntable: {a: {x: 1}}"),
        ("stages/run.py", "edit"),
        ("artifacts/in/rows", "r2"),
    ):
        (checkout / path).write_text(text)
        prints.append(run.prepare("fake", *DECLARED).fingerprint)
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    ("path", "text"), [("params.yaml", "fake: {images: 4}\ntable: {a: {x: 1}}"), ("stages/run.py", "edit")]
)
def test_an_edit_during_the_run_records_nothing(
    path: str, text: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(job: Job) -> None:
        writes(job)
        (checkout / path).write_text(text)

    with pytest.raises(TrainingFailed, match=f"{path} changed while it ran"):
        execute(body, monkeypatch)
    assert not (checkout / "artifacts/out").exists() and not (checkout / "artifacts/provenance/fake.json").exists()


def test_a_stage_is_handed_what_it_declared_only(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def body(job: Job) -> None:
        assert job.section(Fake, "fake").images == 3
        assert "b" not in job.parameters["table"] and "other" not in job.parameters
        for method in (job.input, job.out):
            with pytest.raises(BadArtifact, match=r"declare it in stages/nodes\.py"):
                method("artifacts/else")
        with pytest.raises(BadParameter, match="undeclared"):
            job.section(Fake, "other")
        writes(job)

    execute(body, monkeypatch)


def test_a_missing_input_names_the_command_that_makes_it(checkout: Path) -> None:
    with pytest.raises(BadArtifact, match=r"artifacts/none is missing; `dvc repro fake`"):
        run.prepare("fake", DECLARED[0], ["artifacts/none"], *DECLARED[2:])


def test_an_out_that_was_not_written_is_an_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingFailed, match="without writing artifacts/out"):
        execute(lambda job: None, monkeypatch)


def test_a_module_outside_the_declared_code_is_an_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_loaded", lambda: {"stages/run.py", "gan/networks.py"})
    with pytest.raises(BadArtifact, match=r"uses gan/networks\.py.*pipeline\.py graph"):
        execute(writes, monkeypatch)


def test_loaded_modules_are_the_repositorys_own() -> None:
    assert run._loaded() >= LOADED_HERE
    assert not any(
        path.startswith(("commands/", ".venv", "tests/")) or path in ("stages/graph.py", "stages/nodes.py")
        for path in run._loaded()
    )


def test_another_rank_leaves_the_places_of_the_outs_alone(checkout: Path) -> None:
    run.prepare("fake", *DECLARED)
    (checkout / "artifacts/.out.part/rows").write_text("of rank 0")
    run.prepare("fake", *DECLARED, clear=False)
    assert (checkout / "artifacts/.out.part/rows").read_text() == "of rank 0"
    assert not list((checkout / "work/fake").glob("*.part"))


def test_adopting_prints_and_records_what_differs(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = run.prepare("fake", *DECLARED)
    (old.folder / "state-000000000004").mkdir()
    (old.folder / "images-00000.npy").write_bytes(b"shard")
    (old.folder / "curves.csv").write_text("a\n")
    before = (old.folder / "identity.json").read_text()
    (checkout / "stages/run.py").write_text("a comment")
    new = run.prepare("fake", *DECLARED)
    assert (
        f"starting anew; state of other parameters, code or inputs is kept: {old.fingerprint}"
        in capsys.readouterr().out
    )
    run.adopt(new, old.fingerprint)
    assert "code: stages/run.py" in capsys.readouterr().out
    assert (new.folder / "state-000000000004").is_dir()
    assert (new.folder / "images-00000.npy").samefile(old.folder / "images-00000.npy")  # no second 100 GB
    with (new.folder / "curves.csv").open("a") as curves:
        curves.write("b\n")
    assert (old.folder / "curves.csv").read_text() == "a\n"
    assert (old.folder / "identity.json").read_text() == before != (new.folder / "identity.json").read_text()
    with pytest.raises(BadParameter, match="no state 123"):
        run.adopt(new, "123")


def test_adopting_the_present_state_is_refused_and_loses_nothing(checkout: Path) -> None:
    """The command that `prepare-ct` prints after too many rejects, given before `rejects_at_most` was raised."""
    prepared = run.prepare("fake", *DECLARED)
    (prepared.folder / "images-00000.npy").write_bytes(b"shard")
    (prepared.folder / "state-000000000004").mkdir()
    (prepared.folder / "state-000000000004/rank-0.pt").write_bytes(b"state")
    with untouched(prepared.folder):
        for word in (prepared.fingerprint, f"{prepared.fingerprint}/"):
            with pytest.raises(BadParameter, match=r"is the present state; leave --adopt out"):
                run.adopt(prepared, word)


def test_adopting_over_state_of_its_own_writes_through_no_hard_link(checkout: Path) -> None:
    """A finished shard or sheet in `work/` is the artifact's file, and DVC's cache's."""
    old = run.prepare("fake", *DECLARED)
    (checkout / "stages/run.py").write_text("a comment")
    new = run.prepare("fake", *DECLARED)
    for name in ("images-00000.npy", "sheet-00000.png"):
        (old.folder / name).write_bytes(b"old")
        (new.folder / name).write_bytes(b"new")
        (checkout / name).hardlink_to(new.folder / name)
    run.adopt(new, old.fingerprint)
    for name in ("images-00000.npy", "sheet-00000.png"):
        assert (new.folder / name).read_bytes() == b"old" and (checkout / name).read_bytes() == b"new"


def test_another_weights_file_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "w.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("SCOPEFORMER_RAW_WEIGHTS", str(checkout))

    class Weights(Parameters):
        file: str
        sha256: str

    def body(job: Job) -> None:
        with pytest.raises(BadInput, match="SHA-256"):
            job.weights(Weights(file="w.safetensors", sha256="0" * 64))
        with pytest.raises(BadInput, match="not below"):
            job.weights(Weights(file="none", sha256="0" * 64))
        writes(job)

    execute(body, monkeypatch)


def item(name: str, body: Callable[[Job], None], monkeypatch: pytest.MonkeyPatch, deps: list[str], out: str) -> None:
    """Run an item of a group with these inputs and one out."""
    module = ModuleType("stages.fake")
    module.run = body  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stages.fake", module)
    prepared = run.prepare(name, "stages/fake.py", deps, sorted(LOADED_HERE & {"stages/run.py"}), ["fake"], [out])
    monkeypatch.setattr(run, "_loaded", set)
    run.work(prepared)
    run.finish(prepared, ["fake"])


def test_what_is_skipped_skips_the_items_below_it_and_no_other(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_few(job: Job) -> None:
        raise Skipped("cnns.a.fraction: 3 patients")

    def fails(job: Job) -> None:
        raise AssertionError("is not run")

    def fine(job: Job) -> None:
        write_card(job.out("artifacts/other"), "cnn")

    item("first@a", too_few, monkeypatch, ["artifacts/in"], "artifacts/a")
    item("second@a", fails, monkeypatch, ["artifacts/in", "artifacts/a"], "artifacts/below")
    item("first@b", fine, monkeypatch, ["artifacts/in"], "artifacts/other")
    said = capsys.readouterr().out
    for stage, out in (("first@a", "a"), ("second@a", "below")):
        assert f"{stage}: skipped: cnns.a.fraction: 3 patients" in said
        assert read_card(checkout / "artifacts" / out)["kind"] == "skipped"
        assert run.skipped(checkout / "artifacts" / out) == "cnns.a.fraction: 3 patients"
        assert (checkout / f"artifacts/provenance/{stage}.json").exists()
    assert run.skipped(checkout / "artifacts/other") == "" == run.skipped(checkout / "artifacts/in")


def test_a_stage_that_is_no_item_runs_above_what_was_skipped(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report tells of what was skipped."""
    (checkout / "artifacts/a").mkdir()
    write_card(checkout / "artifacts/a", "skipped", reason="too few")
    item(
        "report", lambda job: write_card(job.out("artifacts/r"), "report"), monkeypatch, ["artifacts/a"], "artifacts/r"
    )
    assert read_card(checkout / "artifacts/r")["kind"] == "report"
