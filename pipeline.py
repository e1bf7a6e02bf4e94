"""Scopeformer pipeline: the command line. Every command is one function of `commands/`.

python pipeline.py profile demo          choose a parameter set
dvc repro                                run what is stale
python pipeline.py stage gan-train       run one stage, as DVC would
"""

import errno
import sys
from pathlib import Path
from typing import Any

import click

from settings.errors import PipelineError

PROFILES = sorted(path.stem for path in (Path(__file__).parent / "profiles").glob("*.yaml"))


class _Commands(click.Group):
    """Turns the pipeline's own errors into one line and an exit status; `--debug` shows the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            if ctx.params["debug"]:
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_status)
        except OSError as error:
            if error.errno != errno.ENOSPC or ctx.params["debug"]:
                raise
            click.echo(
                f"error: no space left on the disk ({error.filename or 'while writing'}); free some, run it again",
                err=True,
            )
            ctx.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Does pretraining on photos translated into the look of brain CT help to find haemorrhage? Not a medical device.

    The stages are run by DVC (`dvc repro`, `dvc status`, `dvc exp run -S vit.depth=2`); these commands are what
    it calls, and what stands beside it.
    """


@main.command()
@click.argument("name")
@click.option("--adopt", metavar="FINGERPRINT", help="Go on from the state of another fingerprint (a harmless edit).")
def stage(name: str, adopt: str | None) -> None:
    """Run one stage, e.g. gan-train or vit-train@2-cnn: what DVC calls. An interrupted training resumes."""
    from commands.stage import run_stage

    run_stage(name, adopt)


@main.command()
@click.option("--scale", metavar="WHAT", help="rsna-imagenet, a profile or a file of parameters: what it would take.")
@click.option("--measure", is_flag=True, help="Write FILE from what this checkout's stages took.")
@click.option(
    "--machine",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Rates of a machine; work/machine.json where --measure wrote it, else those that the project comes with.",
)
def plan(scale: str | None, measure: bool, machine: Path | None) -> None:
    """List what `dvc repro` would run, in order, and why.

    With --scale: time, disk, memory and device hours of each stage at that size, from rates that --measure took of a
    run on this machine, and which of them are extrapolated.
    """
    if measure or scale:
        from commands.plan_scale import print_scale, write_machine

        if measure:
            write_machine(machine)
        if scale:
            print_scale(scale, machine)
        return
    from commands.plan import print_plan

    print_plan()


@main.command()
def graph() -> None:
    """Render dvc.yaml from params.yaml (after adding a CNN, a variant, a corpus, or changing an import)."""
    from commands.graph import write_graph

    write_graph()


@main.command(help=f"Replace params.yaml by profiles/NAME.yaml ({', '.join(PROFILES)}).")
@click.argument("name")
@click.option("--force", is_flag=True, help="Overwrite edits of params.yaml that no profile holds.")
def profile(name: str, force: bool) -> None:
    """Replace params.yaml by a profile."""
    from commands.graph import switch_profile

    switch_profile(name, force)


@main.command()
def manifest() -> None:
    """List the raw files named in local.yaml in data/*.csv, for `dvc add`."""
    from commands.manifest import write_manifests

    write_manifests()


@main.command()
def doctor() -> None:
    """Say what is here and what is missing: environment, devices, ranks, raw roots, weights files, space."""
    from commands.doctor import print_doctor

    sys.exit(1 if print_doctor() else 0)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def inspect(path: Path) -> None:
    """Explain an artifact: what it holds, its ranges and classes, where it came from; images get a contact sheet."""
    from commands.inspect import inspect as explain

    explain(path)


@main.command()
@click.argument("slice_id", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path), help="The PNG to write; default: ID.png in this folder.")
def show(slice_id: str, out: Path | None) -> None:
    """Write one CT slice as PNG: its three windows side by side, its labels below."""
    from commands.show import show as write_picture

    write_picture(slice_id, out)


@main.command()
def table() -> None:
    """Print Table 1 of the last report and the path of its page."""
    from commands.table import show_table
    from settings.places import ROOT

    show_table(ROOT / "artifacts/report")


@main.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--corpus",
    default="artifacts/translated",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The corpus to export; artifacts/controls/grey and artifacts/photos are others.",
)
@click.option("--one-channel", is_flag=True, help="Grey PNGs of the HU channel (range: export.json), not the windows.")
@click.option("--onnx", metavar="FILE", type=click.Path(path_type=Path), help="Write the generator as ONNX, checked.")
def export(folder: Path | None, corpus: Path, one_channel: bool, onnx: Path | None) -> None:
    """Write the translated photos as an ImageFolder, DIR/<part>/<wnid>/<name>.png, for other tools.

    PNGs are lossless: the three windows as RGB. What is there already is kept, so a killed export goes on; a folder
    that holds anything else is refused. With --onnx alone no image is written.
    """
    from settings.errors import BadParameter

    if not (folder or onnx):
        raise BadParameter("export: name the folder to write images to, or --onnx FILE for the generator")
    if folder:
        from commands.export import export as write_images

        write_images(corpus, folder, one_channel)
    if onnx:
        from commands.export_onnx import export_onnx
        from settings.places import ROOT

        export_onnx(ROOT / "artifacts/gan", onnx)


@main.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--variant", help="The head to ask; default: of those evaluated, the best by weighted log loss on val.")
@click.option("--prevalence", type=float, metavar="SHARE", help="Of slices with any haemorrhage, where yours are from.")
@click.option(
    "--csv",
    "out",
    default="predictions.csv",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="To write.",
)
def predict(paths: tuple[Path, ...], variant: str | None, prevalence: float | None, out: Path) -> None:
    """Ask a trained head about DICOM files, and folders of them. Not a medical device: no diagnosis, no triage.

    Files are grouped by SeriesInstanceUID and ordered along the normal of their slices; what is no axial CT slice of a
    head is rejected, with the reason. Slices 3.5 mm apart or less are averaged to the 5.1 mm of the training series;
    other spacings than theirs (5.0-5.7 mm) are flagged, as are thick slices that overlap, contrast, slices computed
    from others (MIP, MPR) and kernels for bone or lung. Every slice has six probabilities, raw and calibrated: the
    temperatures are those that `evaluate` fitted on val.

    --prevalence moves each calibrated logit by the change of its prior log odds, logit(new) - logit(old). Old is the
    share of positive slices on val. New is SHARE for `any`; a subtype keeps its proportion of `any`. Without it the
    probabilities hold at the prevalence on val.

    The CSV and the screen have paths as you give them; these may hold names. The third frame of a file of several is
    FILE#3. A slice without a position or an orientation is a series of its own, flagged 'position unknown'. Exit
    status: 0, also where some files are rejected; 2 if none could be read.
    """
    from commands.predict import predict as ask
    from settings.places import ROOT

    ask(ROOT / "artifacts", paths, variant, prevalence, out)


@main.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--variant", help="The head to ask; default: of those evaluated, the best by weighted log loss on val.")
@click.option("--order", type=click.Path(exists=True, path_type=Path), help="Kaggle's sample submission: its rows.")
@click.option("--fill", is_flag=True, help="Give slices that are missing or cannot be read the prevalences on val.")
@click.option(
    "--out",
    default="submission.csv",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="To write.",
)
def submission(paths: tuple[Path, ...], variant: str | None, order: Path | None, fill: bool, out: Path) -> None:
    """Write Kaggle's submission for RSNA's unlabelled test files, ID_….dcm, and folders of them.

    Probabilities are calibrated on val, as `predict` gives them, each slice on its own. A submission must have every
    row of the sample submission: slices that are missing or cannot be read are an error that names them, raised as soon
    as they are known; with --fill they are named and answered with the prevalences on val.
    """
    from commands.submission import submit
    from settings.places import ROOT

    submit(ROOT / "artifacts", paths, variant, order, fill, out)


@main.command()
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings of everything.")
@click.option(
    "--folds", default=1, show_default=True, type=click.IntRange(1), help="1: the split of params.yaml, as it is."
)
@click.option("-S", "--set-param", "settings", multiple=True, metavar="KEY=VALUE", help="As `dvc exp run -S`, for all.")
@click.option("--dry", is_flag=True, help="List the experiments and how many stages would run; run none.")
@click.option(
    "--out", default="comparison", show_default=True, type=click.Path(path_type=Path), help="The folder to write."
)
def compare(seeds: int, folds: int, settings: tuple[str, ...], dry: bool, out: Path) -> None:
    """Run the graph over seeds and folds, and write what may be said of the arms: a page, a table, a figure.

    Each run is a DVC experiment, seed-K-fold-F-of-N-<hash of parameters and code> (`dvc exp show`), in a folder of its
    own: workspace and artifacts stay as they are. What is there already is not run again; after a kill the same command
    goes on. A seed reseeds everything from gan-train on. With several folds each patient is tested once.

    The primary result is that of one CNN under a linear head: translated - original and translated - restyled, frozen
    and fine-tuned, by share of its half of the train patients (`profile arms`). Table 1 and Figure 2 stand beside it,
    paper-style.
    """
    from commands.compare import compare_arms

    compare_arms(seeds, folds, settings, dry, out)


@main.command()
@click.option(
    "--remove",
    multiple=True,
    type=click.Choice(["work", "cache"]),
    help="Delete what is listed of it; may be repeated.",
)
def clean(remove: tuple[str, ...]) -> None:
    """Show what training state of old parameters, code or inputs holds, and cache that nothing names any more.

    Kept in any case: each stage's newest state and the one its artifact comes from; what the workspace, a commit under
    any branch, tag or stash, or an experiment names.
    """
    from commands.clean import clean as list_or_remove

    list_or_remove(remove)


if __name__ == "__main__":
    main()
