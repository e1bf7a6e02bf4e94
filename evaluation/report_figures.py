"""The figures that are drawn for the report: PNG and CSV in its folder, data URIs for its page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from corpus.images import Images
from evaluation.arms import Group
from evaluation.cases import read_cases
from evaluation.compare import Comparison, label_fraction_curve
from evaluation.falls import Falls, read_falls
from evaluation.lesions import auc_by_size, write_sizes
from evaluation.metrics import sigmoid
from evaluation.pictures import data_uri
from evaluation.plots import Dot, DotPanel, Interval, dots, label_fractions, point, sizes, write_points
from evaluation.plots_overlays import overlays
from evaluation.plots_training import curves, figures_by_images
from evaluation.pointing import Masks, Pointing, Truth, play, read_masks, truth_on, write_pointing
from evaluation.scores import scores_of
from evaluation.table import Row
from evaluation.verdict import LEAD, PREVALENCES, STATES, loss_of

if TYPE_CHECKING:
    from evaluation.report import Sources

Trainings = Mapping[str, Mapping[str, Path]]


def figure2(
    folder: Path, sources: "Sources", rows: Sequence[Row], names: Mapping[str, str], floor: float, note: str, dpi: int
) -> str:
    """Weighted log loss and AUC of `any` of every variant, sorted by the loss, then of every floor."""
    points = {
        name: point(name, entry, sources.cnns, {key: getattr(row, key) for key in (LEAD, "mean_accuracy", "mean_auc")})
        for name, entry in sources.variants.items()
        for row in rows
        if (row.kind, row.name) == ("variant", name)
    }
    write_points(folder / "figure2.csv", list(points.values()))
    some_auc = any(row.auc_any is not None for row in rows)
    shown: dict[str, list[Dot]] = {"variant": [], "floor": []}
    for row in sorted((row for row in rows if row.kind in shown), key=lambda row: row.weighted_log_loss or 0):
        where = points.get(row.name) if row.kind == "variant" else None
        name = f"{row.name} ({where.cnns} CNN{'s' * (where.cnns != 1)})" if where else row.name.replace("-", " ")
        figures = [_interval(row, "weighted_log_loss"), *([_interval(row, "auc_any")] if some_auc else [])]
        if row.name != "always-no":  # its loss of certain answers would squeeze all others together
            hollow = bool(where and (where.pair or where.projected))
            shown[row.kind].append(Dot(name, where.pretraining if where else "floor", hollow, figures))
    corpora = {"ImageNet": names["imagenet"], "GAN": names["gan-pretrain"]}
    legend = {
        kind: " + ".join(corpora.get(word, word) for word in kind.split(" + "))
        for kind in {p.pretraining for p in points.values()}
    }
    panels = [
        DotPanel("Weighted log loss, nats (lower is better)", floor, "prevalences"),
        DotPanel("AUC of any (higher is better)", 0.5, "chance"),
    ]
    dots(folder / "figure2.png", list(shown.values()), panels[: 1 + some_auc], legend, note, dpi)
    return data_uri(folder / "figure2.png")


def arms_figures(folder: Path, found: Comparison, arms: Sequence[Group], note: str, dpi: int) -> str:
    """The label-fraction curve, where some state of the CNN has arms at several shares of the patients; else empty."""
    curve: dict[str, Any] = {}
    for encoder in dict.fromkeys(group.encoder for group in arms):
        for state, words in STATES.items():
            mine = [group for group in arms if (group.encoder, group.state) == (encoder, state)]
            if len({group.fraction for group in mine}) > 1:
                table: dict[str, dict[float, str]] = {}
                for group in mine:
                    for arm, variant in group.arms.items():
                        table.setdefault(arm, {})[group.fraction] = variant
                curve[f"{words}, {encoder} head"] = label_fraction_curve(found, table, LEAD)
    if not curve:
        return ""
    floor = loss_of(found, PREVALENCES).value
    label_fractions(folder / "label-fractions.png", curve, "weighted log loss, nats", floor, note, dpi)
    return data_uri(folder / "label-fractions.png")


def lesion_sizes(folder: Path, sources: "Sources", labels: list[str], note: str, dpi: int) -> str:
    """AUC by lesion size of every variant, as auc-by-size.csv and a picture; nothing without masks."""
    if sources.lesions is None:
        return ""
    rows = [
        row
        for name, path in sources.evaluations.items()
        for row in auc_by_size(name, path / "scores.parquet", sources.lesions, labels, sources.hashed)
    ]
    write_sizes(folder / "auc-by-size.csv", rows)
    sizes(folder / "auc-by-size.png", rows, note, dpi)
    return data_uri(folder / "auc-by-size.png")


def looks(
    folder: Path, sources: "Sources", chosen: str, labels: list[str], dpi: int
) -> tuple[list[Pointing], tuple[str, str]]:
    """The pointing game of every variant (pointing.csv), and the overlays: of which variant, and the picture.

    Overlays are of the variant that val chose or, where it has no places, of the first that has; ("", "") without any.
    """
    with_falls = {
        name: read_falls(path / "occlusion.parquet", labels)
        for name, path in sources.evaluations.items()
        if (path / "occlusion.parquet").exists()
    }
    if not with_falls:
        return [], ("", "")
    shown = chosen if chosen in with_falls else next(iter(with_falls))
    images = Images(sources.ct, "hu")
    masks: Masks = {}
    game: list[Pointing] = []
    if sources.lesions:
        ids = sorted({id_ for falls in with_falls.values() for id_ in falls.ids})
        masks = read_masks(sources.lesions, ids, labels, sources.hashed)
        game = _game(sources, with_falls, masks, images, labels)
        write_pointing(folder / "pointing.csv", game)
    place = sources.evaluations[shown]
    scores = scores_of(pq.read_table(place / "scores.parquet"), labels)
    probability = sigmoid(scores.logits)
    answers = {
        (label, id_): float(probability[row, i]) for row, id_ in enumerate(scores.ids) for i, label in enumerate(labels)
    }
    cases = read_cases(place / "cases.csv")
    overlays(folder / "overlays.png", cases, with_falls[shown], answers, masks, images, labels, dpi)
    return game, (shown, data_uri(folder / "overlays.png"))


def _game(
    sources: "Sources", with_falls: Mapping[str, Falls], masks: Masks, images: Images, labels: list[str]
) -> list[Pointing]:
    truths: dict[tuple[int, int], Truth] = {}
    found = []
    for name, falls in with_falls.items():
        grid = (falls.values.shape[2], falls.values.shape[3])
        if grid not in truths:
            truths[grid] = truth_on(grid, masks, images)
        scores = scores_of(pq.read_table(sources.evaluations[name] / "scores.parquet"), labels)
        positives = {
            label: [id_ for id_, one in zip(scores.ids, scores.truth[:, i], strict=True) if one]
            for i, label in enumerate(labels)
        }
        patients = dict(zip(scores.ids, scores.patients, strict=True))
        found += play(name, falls, positives, patients, truths[grid], labels, sources.intervals)
    return found


def curves_figures(folder: Path, sources: "Sources", dpi: int) -> list[tuple[str, str]]:
    """Curves of every training, as pictures with captions; the files are not kept."""
    trained: Trainings = {
        "Heads: training loss, and losses on val": dict(sources.heads),
        "CNNs: training loss, and losses on held-out images (corpora) or val (CT)": {
            **{f"pretrained on {name}": path for name, path in sources.pretrained.items()},
            **{f"{name}, on CT": path for name, path in sources.tuned.items()},
        },
    }
    found = []
    path = folder / "curves.png"
    for caption, trainings in trained.items():
        with_curves = {name: place for name, place in trainings.items() if (place / "training.csv").exists()}
        if with_curves:
            curves(path, with_curves, dpi)
            found.append((caption, data_uri(path)))
    if sources.gan and (sources.gan / "training.csv").exists():
        figures_by_images(path, sources.gan, dpi)
        found.append(("Translator: losses, and figures watched on fixed train photos", data_uri(path)))
    path.unlink(missing_ok=True)
    return found


def _interval(row: Row, name: str) -> Interval | None:
    value = getattr(row, name)
    return None if value is None else Interval(value, getattr(row, f"{name}_low"), getattr(row, f"{name}_high"))
