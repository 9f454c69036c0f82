"""How long calls take: side by side in one run, warm, as medians with their spread.

>>> from kdrecon.results.timing import timed
>>> times = timed({"sum": lambda: sum(range(1000)), "list": lambda: list(range(1000))}, repeats=3)
>>> 0 < times["sum"].low <= times["sum"].median <= times["sum"].high
True
"""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Times(NamedTuple):
    """Of one call, in seconds: the median of the repeats and their quartiles, or the extremes of fewer than four."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        """Those of single measurements."""
        low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 3 else (min(seconds), 0, max(seconds))
        return cls(statistics.median(seconds), low, high)


def timed(calls: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, Times]:
    """Time calls in turn, so that whatever slows the machine down slows all of them; a first call of each does not count.

    Args:
        calls: what is timed, by name; each waits until its work is done.
        repeats: of each.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: Times.of(own) for name, own in seconds.items()}
