"""A candidate that gets more traffic step by step while it holds, and none when it does not."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.deployment.endpoints.lifecycle import Say, set_traffic
from components.core.deployment.endpoints.processes import is_running, refuse_while_promoting
from components.core.deployment.endpoints.record import EndpointFolder, EndpointRecord, Promotion
from components.core.deployment.endpoints.status import read_measures
from components.core.deployment.endpoints.traffic import with_share
from components.core.errors import ConfigError, PlatformError
from components.core.settings import Settings

STEPS = (10, 50, 100)
"""Percent of the traffic."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Quality:
    """The verdict of a paired comparison as of now."""

    holds: bool
    headline: str


@dataclass(frozen=True)
class Objective:
    """What a candidate must keep to at every step."""

    max_latency_ms: float
    """Of the 95th percentile of its requests, as the front measures them."""
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
    endpoint: str,
    candidate: str,
    quality: Callable[[], Quality],
    objective: Objective,
    settings: Settings,
    steps: Sequence[int] = STEPS,
    probe: Callable[[], None] | None = None,
    say: Say = print,
) -> Promoted:
    """Move a candidate on from step to step; back to the former split as soon as it does not hold.

    The former split is the one from before; a candidate that had a share of it already loses that share too, since
    what fails its objective shall answer nobody. Requests that run when the split changes are finished.

    Args:
        endpoint: Its name.
        candidate: A deployment that is ready.
        quality: Reads the verdict; asked again all the time, so that a new one counts at once.
        objective: Latency and how much is measured.
        settings: Where the record is.
        steps: Percent of the traffic, rising.
        probe: Sends one request to the candidate by name, where callers alone would not send enough.
        say: Gets the lines of progress.

    Raises:
        ConfigError: If there is no such deployment, nothing else has traffic, or another promotion runs.
    """
    folder = EndpointFolder(settings.whetstone_home, endpoint)
    former = _begin(folder, candidate)
    ended = False
    try:
        _check_quality(quality)
        for percent in [step for step in steps if step >= former.get(candidate, 0)]:
            record = set_traffic(endpoint, with_share(_rest(former, candidate), candidate, percent), settings)
            say(f"{candidate} gets {percent} % of the traffic")
            _hold(folder, record, candidate, quality, objective, probe, say)
        ended = True
        return Promoted(True, "quality and latency held at every step", folder.read().traffic)
    except _Failed as failure:
        ended = True
        traffic = _go_back(endpoint, former, candidate, settings)
        return Promoted(False, str(failure), traffic)
    finally:
        if not ended:
            _go_back(endpoint, former, candidate, settings)
        _end(folder)


def _rest(former: Mapping[str, int], candidate: str) -> dict[str, int]:
    return {name: share for name, share in former.items() if name != candidate}


def _begin(folder: EndpointFolder, candidate: str) -> dict[str, int]:
    import psutil

    with folder.locked():
        record = folder.read()
        deployment = record.find(candidate)
        if deployment.state != "ready" or not is_running(deployment.server):
            raise ConfigError(f"{candidate} is not ready. Look at `status`.")
        refuse_while_promoting(record)
        # where a promotion of it was killed, the split from before that one is the one to go back to
        killed = record.promotion if record.promotion and record.promotion.candidate == candidate else None
        former = killed.former if killed else record.traffic
        with_share(former, candidate, 1)  # raises where nothing else has traffic
        created = psutil.Process().create_time()
        promotion = Promotion(candidate=candidate, former=former, pid=os.getpid(), created=created)
        folder.write(record.model_copy(update={"promotion": promotion}))
    return dict(former)


def _end(folder: EndpointFolder) -> None:
    with folder.locked():
        folder.write(folder.read().model_copy(update={"promotion": None}))


def _go_back(endpoint: str, former: Mapping[str, int], candidate: str, settings: Settings) -> dict[str, int]:
    return set_traffic(endpoint, with_share(former, candidate, 0), settings).traffic


def _check_quality(quality: Callable[[], Quality]) -> None:
    try:
        found = quality()
    except PlatformError as error:
        raise _Failed(f"there is no verdict on its quality: {error}") from error
    if not found.holds:
        raise _Failed(f"the paired comparison does not hold: {found.headline}")


def _hold(
    folder: EndpointFolder,
    record: EndpointRecord,
    candidate: str,
    quality: Callable[[], Quality],
    objective: Objective,
    probe: Callable[[], None] | None,
    say: Say,
) -> None:
    """Measure the candidate at one step; raises _Failed if it does not hold."""
    begun = float(read_measures(folder, record)["now"])
    started = time.monotonic()
    while True:
        _check_quality(quality)
        measured = read_measures(folder, record, begun)["deployments"].get(candidate, {})
        _check_failures(measured)
        if measured.get("recent", 0) >= objective.min_requests:
            _check_latency(measured, objective, say)
            return
        if time.monotonic() - started > objective.patience_seconds:
            raise _Failed(
                f"only {measured.get('recent', 0)} of {objective.min_requests} requests reached it within "
                f"{objective.patience_seconds:.0f} s: nothing is shown about its latency"
            )
        if probe is None:
            time.sleep(_POLL_SECONDS)
        else:
            _send(probe)


def _send(probe: Callable[[], None]) -> None:
    try:
        probe()
    except PlatformError as error:
        raise _Failed(f"it failed on a probe: {error}") from error


def _check_failures(measured: Mapping[str, Any]) -> None:
    failed = measured.get("recent_failed", 0)
    if failed:
        raise _Failed(f"{failed} of its {measured['recent']} requests failed")


def _check_latency(measured: Mapping[str, Any], objective: Objective, say: Say) -> None:
    found = f"p95 {measured['p95_ms']:.0f} ms of {measured['recent']} requests"
    if measured["p95_ms"] > objective.max_latency_ms:
        raise _Failed(f"{found} is above the objective of {objective.max_latency_ms:.0f} ms")
    say(f"  held: {found}, objective {objective.max_latency_ms:.0f} ms")
