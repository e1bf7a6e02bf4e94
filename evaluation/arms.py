"""Which variants may be compared with each other: one CNN each, alike in all but the corpus that the CNN starts from.

Works on the tables of params.yaml as they stand there. Variants of other states, shares of patients, architectures or
heads are other groups; the rows of Table 1, which mix CNNs that saw CT labels with others, are in none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

TRANSLATED = "translated"
UNLEARNT = ("histogram", "fourier")  # kinds of corpora that are restyled without learning
State = Literal["frozen", "fine-tuned"]  # the CNN never saw a CT label; it was fitted to them


@dataclass(frozen=True)
class Group:
    """Arms of one experiment."""

    state: State
    encoder: str  # of their heads
    fraction: float  # share of its half of the train patients that the head is fitted on; in primary groups a CNN too
    arms: dict[str, str]  # what the CNN was pretrained on further, or "none" → variant
    primary: tuple[tuple[str, str], ...]  # (variant, baseline): what the experiment is made for; empty: it is secondary

    @property
    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """(variant, baseline): the primary ones, else the translated arm against every other."""
        mine = self.arms.get(TRANSLATED)
        others = [variant for arm, variant in self.arms.items() if arm != TRANSLATED]
        return self.primary or tuple((mine, other) for other in others if mine)

    @property
    def share(self) -> str:
        """The fraction in words."""
        return f"{self.fraction:.0%} of its half of the train patients"

    def name_of(self, pair: tuple[str, str]) -> str:
        """`translated − original`, of a contrast."""
        names = {variant: arm for arm, variant in self.arms.items()}
        return " − ".join(names[variant] for variant in pair)


def groups(params: Mapping[str, Any]) -> list[Group]:
    """All groups with more than one arm, in the order of `variants`.

    Primary: a pooled linear head on one CNN; translated - original, translated - restyled, at one share of the patients
    for CNN and head. `params`: the whole of params.yaml, valid.
    """
    cnns, corpora = params["cnns"], params["corpora"]
    found: dict[str, dict[str, str]] = {}
    for name, variant in params["variants"].items():
        if len(variant["cnns"]) == 1:
            cnn = cnns[variant["cnns"][0]]
            found.setdefault(_alike(variant, cnn), {}).setdefault(_arm(cnn), name)
    made = [_group(arms, params["variants"], cnns, corpora) for arms in found.values() if len(arms) > 1]
    return [group for group in made if group.contrasts]


def limits(arms: Sequence[Group]) -> str:
    """What the intervals of these groups know nothing of; empty where all are fitted on whole halves."""
    if all(group.fraction == 1 for group in arms):
        return ""
    return (
        "CNNs are fitted on the CNN half of the train patients, heads on the head half; a share is one of that half. "
        "Its patients are the same for every seed, so their choice is in no interval. Checkpoints and temperatures are "
        "chosen on all of val, whatever the share."
    )


def seeds(params: Mapping[str, Any], count: int) -> list[int]:
    """Values of the shared seed, 0 first: so far apart that no table entry's own seed, added to one, gives another."""
    own = [entry.get("seed", 0) for table in ("cnns", "variants", "corpora") for entry in params[table].values()]
    return [number * (max(own, default=0) + 1) for number in range(count)]


def _arm(cnn: Mapping[str, Any]) -> str:
    start = cnn["start"]
    if cnn["trained_on"] == "batchnorm":
        return "batchnorm"
    return {"imagenet": "none", "gan-pretrain": TRANSLATED}.get(start, start) if isinstance(start, str) else "a file"


def _alike(variant: Mapping[str, Any], cnn: Mapping[str, Any]) -> str:
    """All that arms of one group have in common."""
    head = {key: value for key, value in variant.items() if key not in ("cnns", "paper")}
    rest = {key: value for key, value in cnn.items() if key not in ("start", "trained_on")}
    return json.dumps([head, rest, cnn["trained_on"] == "ct"], sort_keys=True)


def _group(
    arms: dict[str, str], variants: Mapping[str, Any], cnns: Mapping[str, Any], corpora: Mapping[str, Any]
) -> Group:
    variant = variants[next(iter(arms.values()))]
    cnn = cnns[variant["cnns"][0]]
    tuned = cnn["trained_on"] == "ct"
    share = variant.get("fraction", 1)
    even = not tuned or cnn.get("fraction", 1) == share
    pooled = variant["encoder"] == "linear" and not variant.get("context")
    kinds = {arm: corpora[arm]["kind"] for arm in arms if arm in corpora}
    baselines = [arm for arm, kind in kinds.items() if kind == "original"]
    baselines += [arm for arm, kind in kinds.items() if kind in UNLEARNT]
    primary = [(arms[TRANSLATED], arms[arm]) for arm in baselines if TRANSLATED in arms and pooled and even]
    return Group("fine-tuned" if tuned else "frozen", variant["encoder"], share, arms, tuple(primary))
