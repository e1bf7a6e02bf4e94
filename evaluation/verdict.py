"""What a run's figures allow to be said, and what not: one paragraph, made of the figures and their intervals."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from evaluation.arms import Group
from evaluation.compare import Comparison, Contrast
from evaluation.intervals import Estimate
from evaluation.metrics import FEW
from evaluation.pointing import Pointing

LEAD = "weighted_log_loss"  # the one figure that claims are made of
PREVALENCES = "prevalences"
STATES = {"frozen": "frozen CNN", "fine-tuned": "CNN fine-tuned on CT"}


@dataclass(frozen=True)
class Grounds:
    """What the paragraph rests on."""

    found: Comparison  # of one seed and fold
    groups: Sequence[Group]
    floors: Collection[str]
    chosen: str  # the variant with the lowest loss on val
    pointing: Pointing | None  # of it, for `any`
    skipped: Mapping[str, str]  # variant → why it gave nothing

    @property
    def variants(self) -> list[str]:
        return [row.variant for row in self.found.rows if row.metric == LEAD and row.variant not in self.floors]

    @property
    def strongest(self) -> str:
        """The floor with the lowest loss on test: a harder rival than one chosen beforehand."""
        return min(self.floors, key=lambda name: loss_of(self.found, name).value)

    @property
    def questions(self) -> list[tuple[Group, Contrast]]:
        """The contrasts that ask whether translating helps: primary ones, else translated against original photos."""
        groups = [group for group in self.groups if group.primary] or list(self.groups)
        return [
            (group, contrast_of(self.found, variant, baseline))
            for group in groups
            for variant, baseline in group.contrasts
            if group.primary or baseline == group.arms.get("original")
        ]


def loss_of(found: Comparison, variant: str) -> Estimate:
    """The weighted log loss of a variant or floor."""
    row = found.row(variant, LEAD)
    assert row is not None, "every variant has a loss"
    return row.estimate


def contrast_of(found: Comparison, variant: str, baseline: str) -> Contrast:
    """The contrast of their weighted log loss, which was asked for."""
    return next(c for c in found.contrasts if (c.variant, c.baseline, c.metric) == (variant, baseline, LEAD))


def below(found: Comparison, variants: Sequence[str], baseline: str) -> list[str]:
    """The variants whose loss is lower than the baseline's with an interval, over patients, that excludes 0."""
    return [name for name in variants if contrast_of(found, name, baseline).estimate.high < 0]


def sentences(grounds: Grounds) -> list[str]:
    """The paragraph without what the data are, which stands before it."""
    found = grounds.found
    confidence = found.rows[0].estimate.confidence
    bleeds = found.positive_patients.get("any", 0)
    texts = [
        *_translation(grounds),
        f"Test: {found.slices:,} slices of {found.patients:,} patients, {bleeds:,} of them with a bleed; one split, "
        f"and each row is one training. Intervals are of {confidence:.0%} over the choice of patients.",
    ]
    for floor in dict.fromkeys((PREVALENCES, grounds.strongest)):
        texts.append(_against(grounds, floor))
    chosen = loss_of(found, grounds.chosen)
    texts.append(
        f"The head that val would choose, {grounds.chosen}, has a weighted log loss of {chosen.value:.4f} "
        f"({chosen.low:.4f} to {chosen.high:.4f})."
    )
    if game := grounds.pointing:
        texts.append(_looks(game))
    if grounds.skipped:
        texts.append(f"Not run: {'; '.join(f'{name} ({why})' for name, why in grounds.skipped.items())}.")
    return texts


def _against(grounds: Grounds, floor: str) -> str:
    if grounds.found.patients < FEW:
        return f"{grounds.found.patients} patients are too few to say which heads are below {floor.replace('-', ' ')}."
    better = below(grounds.found, grounds.variants, floor)
    name = "answering with the train part's prevalences" if floor == PREVALENCES else floor.replace("-", " ")
    what = f"{name} ({loss_of(grounds.found, floor).value:.4f})"
    of = f"of the {len(grounds.variants)} heads as trained here"
    if floor != PREVALENCES:
        what = f"the strongest floor, {what}"
    if not better:
        return f"None {of} is below {what} by more than the choice of patients explains."
    which = "all" if len(better) == len(grounds.variants) else ", ".join(better)
    verb = "is" if len(better) == 1 else "are"
    return f"{len(better)} {of} {verb} below {what} by more than the choice of patients explains: {which}."


def _looks(game: Pointing) -> str:
    if game.hit is None or game.chance is None or game.above_chance is None or game.middle is None:
        return f"Whether it looks at the blood is not told: {game.patients} patients with a bleed are too few."
    sure = game.above_chance.low > 0
    return (
        f"Its deepest place lies on blood in {game.hit.value:.0%} ({game.hit.low:.0%} to {game.hit.high:.0%}) of "
        f"{game.slices} positive slices, by chance in {game.chance.value:.0%}: "
        f"{'more often than' if sure else 'not shown to be more often than'} by chance; the picture's middle would be "
        f"right in {game.middle.value:.0%}."
    )


def _translation(grounds: Grounds) -> list[str]:
    questions = grounds.questions
    if not questions:
        return [
            "No two heads here differ only by whether their CNN saw translated or other photos, so nothing on this "
            "page says whether translating helps; the profile 'arms' has such rows. One seed: no row is claimed to be "
            "better than another."
        ]
    texts = [
        f"{group.name_of((contrast.variant, contrast.baseline))} ({STATES[group.state]}, {group.encoder} head, "
        f"{group.share}): {_signed(contrast.estimate)}"
        for group, contrast in questions
    ]
    limits = [contrast.smallest_detectable for _, contrast in questions]
    least = f"{min(limits):.4f}" if len(limits) == 1 else f"{min(limits):.4f} to {max(limits):.4f}"
    return [
        f"Does translating help (difference of weighted log loss; below 0: it does)? {'; '.join(texts)}.",
        "One seed: how far another training would move these is in no interval, so no difference is claimed, and one "
        f"below {least} would mostly have been missed even so.",
    ]


def _signed(e: Estimate) -> str:
    return f"{e.value:+.4f} ({e.low:+.4f} to {e.high:+.4f})".replace("-", "−")
