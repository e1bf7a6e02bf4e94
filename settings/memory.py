"""How much memory a process took, and those that worked for it."""

import resource
import sys

_of_workers = [0]  # bytes, the largest


def own_peak() -> int:
    """Largest resident set of this process so far, in bytes; pages of files count."""
    return _bytes(resource.RUSAGE_SELF)


def note_worker(peak: int) -> None:
    """What a process tells of itself that is no child of this one: a fork server's children are not."""
    _of_workers[0] = max(_of_workers[0], peak)


def largest_peak() -> int:
    """Largest resident set, in bytes, of this process, of one that it started and that ended, or that was noted."""
    return max(own_peak(), _bytes(resource.RUSAGE_CHILDREN), *_of_workers)


def _bytes(whose: int) -> int:
    return resource.getrusage(whose).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
