"""What the front counts about each deployment: requests, failures, and how long they took."""

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

_KEPT = 10_000
"""Latest requests of a deployment whose times are kept."""


class Measured(NamedTuple):
    """One request that has ended."""

    ended: float
    """Clock of the front, seconds."""
    seconds: float
    failed: bool
    """Answered with 500 or above, cut off, or not at all."""


class Measures:
    """Counts and latencies by deployment, since the front started."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[Measured]] = {}
        self._statuses: dict[str, Counter[int]] = {}

    def add(self, deployment: str, started: float, status: int, cut: bool = False) -> None:
        """Count a request that has ended now; `started` is on the monotonic clock."""
        now = time.monotonic()
        measured = Measured(now, now - started, cut or status >= 500)
        self._latest.setdefault(deployment, deque(maxlen=_KEPT)).append(measured)
        self._statuses.setdefault(deployment, Counter())[status] += 1

    def report(self, since: float) -> dict[str, Any]:
        """Counts of all requests, and what those that ended after `since` took, in milliseconds."""
        return {
            "now": time.monotonic(),
            "deployments": {name: self._deployment(name, since) for name in sorted(self._statuses)},
        }

    def _deployment(self, name: str, since: float) -> dict[str, Any]:
        recent = [each for each in self._latest[name] if each.ended >= since]
        times = sorted(1000 * each.seconds for each in recent)
        return {
            "requests": self._statuses[name].total(),
            "statuses": {str(status): count for status, count in sorted(self._statuses[name].items())},
            "recent": len(recent),
            "recent_failed": sum(each.failed for each in recent),
            "p50_ms": percentile(times, 50),
            "p95_ms": percentile(times, 95),
        }


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest value that at least `percent` of all values do not exceed; none of no values."""
    if not ordered:
        return None
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]
