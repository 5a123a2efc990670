"""A candidate that gets more traffic step by step while it holds, and none when it does not; wherever it runs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components.core.deployment.endpoints.traffic import with_share
from components.core.errors import PlatformError

Say = Callable[[str], None]
STEPS = (10, 50, 100)
"""Percent of the traffic."""
_POLL_SECONDS = 0.25


class Host(Protocol):
    """Where a promotion happens: an endpoint with two deployments or more."""

    probe: Callable[[], None] | None
    """Sends one request to the candidate by name, where callers alone would not send enough."""

    def begin(self, candidate: str) -> dict[str, int]:
        """Keep others from changing the traffic; gives the split to go back to.

        Raises:
            ConfigError: If the candidate is not ready, or another promotion runs.
        """

    def shift(self, shares: Mapping[str, int]) -> dict[str, int]:
        """Split the traffic; gives what is in force."""

    def clock(self) -> float:
        """Of what is measured, in seconds."""

    def measured(self, candidate: str, since: float) -> Mapping[str, Any]:
        """`recent`, `recent_failed` and `p95_ms` of the candidate's requests that ended after `since`.

        Where it is known, `trouble` says what else is wrong with the candidate.
        """

    def end(self) -> None:
        """Let others change the traffic again."""


@dataclass(frozen=True)
class Quality:
    """The verdict of a paired comparison as of now."""

    holds: bool
    headline: str


@dataclass(frozen=True)
class Objective:
    """What a candidate must keep to at every step."""

    max_latency_ms: float
    """Of the 95th percentile of its requests, as the host measures them."""
    min_requests: int = 20
    """Of the candidate at each step, before it is judged there."""
    patience_seconds: float = 600.0
    """For so many requests to come."""


@dataclass(frozen=True)
class Promoted:
    """How a promotion ended."""

    promoted: bool
    reason: str
    traffic: dict[str, int]


class _Failed(Exception):  # noqa: N818 - a result, not an error
    """The candidate does not hold."""


def promote(
    host: Host,
    candidate: str,
    quality: Callable[[], Quality],
    objective: Objective,
    steps: Sequence[int] = STEPS,
    say: Say = print,
) -> Promoted:
    """Move a candidate on from step to step; back to the former split as soon as it does not hold.

    The former split is the one from before; a candidate that had a share of it already loses that share too, since
    what fails its objective shall answer nobody. Requests that run when the split changes are finished.

    Args:
        host: Where the endpoint is.
        candidate: A deployment that is ready.
        quality: Reads the verdict; asked again all the time, so that a new one counts at once.
        objective: Latency and how much is measured.
        steps: Percent of the traffic, rising.
        say: Gets the lines of progress.

    Raises:
        ConfigError: If there is no such deployment, nothing else has traffic, or another promotion runs.
    """
    former = host.begin(candidate)
    traffic, ended = former, False
    try:
        _check_quality(quality)
        for percent in [step for step in steps if step >= former.get(candidate, 0)]:
            traffic = host.shift(with_share(_rest(former, candidate), candidate, percent))
            say(f"{candidate} gets {percent} % of the traffic")
            _hold(host, candidate, quality, objective, say)
        ended = True
        return Promoted(True, "quality and latency held at every step", traffic)
    except _Failed as failure:
        ended = True
        return Promoted(False, str(failure), host.shift(with_share(former, candidate, 0)))
    finally:
        try:
            if not ended:
                host.shift(with_share(former, candidate, 0))
        finally:
            host.end()


def _rest(former: Mapping[str, int], candidate: str) -> dict[str, int]:
    return {name: share for name, share in former.items() if name != candidate}


def _check_quality(quality: Callable[[], Quality]) -> None:
    try:
        found = quality()
    except PlatformError as error:
        raise _Failed(f"there is no verdict on its quality: {error}") from error
    if not found.holds:
        raise _Failed(f"the paired comparison does not hold: {found.headline}")


def _hold(host: Host, candidate: str, quality: Callable[[], Quality], objective: Objective, say: Say) -> None:
    """Measure the candidate at one step; raises _Failed if it does not hold."""
    begun, started = host.clock(), time.monotonic()
    while True:
        _check_quality(quality)
        measured = host.measured(candidate, begun)
        _check_failures(measured)
        if measured.get("recent", 0) >= objective.min_requests:
            _check_latency(measured, objective, say)
            return
        if time.monotonic() - started > objective.patience_seconds:
            raise _Failed(
                f"only {measured.get('recent', 0)} of {objective.min_requests} requests reached it within "
                f"{objective.patience_seconds:.0f} s: nothing is shown about its latency"
            )
        if host.probe is None:
            time.sleep(_POLL_SECONDS)
        else:
            _send(host.probe)


def _send(probe: Callable[[], None]) -> None:
    try:
        probe()
    except PlatformError as error:
        raise _Failed(f"it failed on a probe: {error}") from error


def _check_failures(measured: Mapping[str, Any]) -> None:
    if measured.get("trouble"):
        raise _Failed(measured["trouble"])
    failed = measured.get("recent_failed", 0)
    if failed:
        raise _Failed(f"{failed} of its {measured['recent']} requests failed")


def _check_latency(measured: Mapping[str, Any], objective: Objective, say: Say) -> None:
    found = f"p95 {measured['p95_ms']:.0f} ms of {measured['recent']} requests"
    if measured["p95_ms"] > objective.max_latency_ms:
        raise _Failed(f"{found} is above the objective of {objective.max_latency_ms:.0f} ms")
    say(f"  held: {found}, objective {objective.max_latency_ms:.0f} ms")
