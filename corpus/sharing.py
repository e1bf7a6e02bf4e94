"""One task shared by processes on any number of machines, which meet in a folder alone.

Process `rank` of `ranks` makes the files rank, rank + ranks, …; whoever needs them all waits until they are there. A
file appears under its name when it is whole (written beside, then renamed). Where one may take longer than the others
are patient, who makes it has a heartbeat.
"""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from settings.errors import BadParameter, WrongEnvironment

PATIENCE = 900.0  # seconds without any new file or heartbeat
BEAT = 10.0  # seconds between two heartbeats, at least
Item = TypeVar("Item")


class Share(NamedTuple):
    """Which of the processes that share a task this is."""

    rank: int = 0
    ranks: int = 1

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items that this process makes."""
        return items[self.rank :: self.ranks]


class Heartbeat:
    """A file that a process touches while it works on something that takes long."""

    def __init__(self, path: Path) -> None:
        self.path, self.last = path, -math.inf

    def beat(self) -> None:
        """Touch the file, unless that was done within BEAT seconds."""
        now = time.monotonic()
        if now - self.last >= BEAT:
            self.path.touch()
            self.last = now


def share_of_environment() -> Share:
    """RANK and WORLD_SIZE as torchrun, accelerate or a scheduler's script set them; alone where they are not set."""
    texts = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not all(text.isdecimal() for text in texts) or int(texts[0]) >= int(texts[1]):
        raise BadParameter(f"RANK={texts[0]} WORLD_SIZE={texts[1]}: must be a rank from 0 and the number of ranks")
    return Share(int(texts[0]), int(texts[1]))


def wait_for_files(
    paths: Sequence[Path], share: Share, what: str, patience: float = PATIENCE, *, heartbeats: Sequence[Path] = ()
) -> None:
    """Return when every path exists; `paths[i]` is made by rank i modulo the number of ranks.

    WrongEnvironment when none was added, and none of the `heartbeats` changed, for `patience` seconds: names the first
    missing ones and who should make them.
    """
    missing = list(range(len(paths)))
    times = _times(heartbeats)
    deadline = time.monotonic() + patience
    while True:
        left = [number for number in missing if not paths[number].exists()]
        if not left:
            return
        now = time.monotonic()
        before, times = times, _times(heartbeats)
        if len(left) < len(missing) or times != before:
            deadline = now + patience
        missing = left
        if now > deadline:
            ranks = sorted({number % share.ranks for number in missing})
            names = ", ".join(paths[number].name for number in missing[:5])
            raise WrongEnvironment(
                f"{what}: {len(missing)} of {len(paths)} files of other processes did not come for {patience:.0f} s "
                f"({names}{', …' if len(missing) > 5 else ''}; rank {', '.join(map(str, ranks[:5]))}); "
                "look whether those died, then run all again: what is done is kept"
            )
        time.sleep(0.2)


def _times(heartbeats: Sequence[Path]) -> list[int]:
    """When each was last touched, by the clock of whoever keeps the files: only a change of it means anything."""
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in heartbeats]
