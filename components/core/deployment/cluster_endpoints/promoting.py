"""A promotion on a cluster, measured by its own probes: no front of ours sees what callers send."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from components.core.deployment.cluster_endpoints.changes import change_routes, holder, refuse_while_promoting
from components.core.deployment.cluster_endpoints.lifecycle import set_traffic
from components.core.deployment.cluster_endpoints.names import selector
from components.core.deployment.cluster_endpoints.record import ClusterRecord, Promotion
from components.core.deployment.endpoints.measures import Measures
from components.core.deployment.endpoints.traffic import with_share
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.deployment.rollout import read_state
from components.core.errors import ConfigError, PlatformError

_SILENCE_SECONDS = 60.0
"""Beside the longest answer; a promotion that nobody has heard of for so long counts as cut off."""
_FAILED = 599
"""Stands for any answer that is not a success; the caller of a probe has its words."""


class ClusterHost:
    """A promotion behind the routes of a cluster.

    What counts as a failure of the candidate: a probe without a success, and a pod of it that is not ready or has
    begun again since the promotion began, which is how callers' requests show here.

    Args:
        cluster: Where the endpoint is.
        namespace: Of the endpoint.
        endpoint: Its name.
        candidate: The deployment to move on.
        probe: Sends one request to it, by the way that callers take.

    Raises:
        ConfigError: If there is no probe.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, endpoint: str, candidate: str, probe: Callable[[], None] | None
    ) -> None:
        if probe is None:
            raise ConfigError(
                "on a cluster a candidate is measured by requests of this command. Name one: --probe-file FILE"
            )
        self._cluster, self._namespace, self._endpoint = cluster, namespace, endpoint
        self._candidate, self._ask = candidate, probe
        self._measures = Measures()
        self._before: dict[str, int] = {}
        self._former: dict[str, int] = {}
        self._silence = _SILENCE_SECONDS
        self._renewed = 0.0
        self.probe: Callable[[], None] | None = self._timed

    def begin(self, candidate: str) -> dict[str, int]:
        """Write who promotes into the routes, for everybody to see."""
        former: dict[str, int] = {}

        def change(now: ClusterRecord) -> ClusterRecord:
            nonlocal former
            deployment = now.find(candidate)
            refuse_while_promoting(now)
            ready = read_state(self._cluster, deployment.service).ready
            if not ready or candidate not in [each.name for each in now.routed]:
                raise ConfigError(f"{candidate} is not ready. Look at `status`.")
            # where a promotion of it was cut off, the split from before that one is the one to go back to
            cut_off = now.promotion if now.promotion and now.promotion.candidate == candidate else None
            former = dict(cut_off.former if cut_off else now.traffic)
            with_share(former, candidate, 1)  # raises where nothing else has traffic
            self._silence += deployment.options.request_timeout_ms / 1000
            return replace(now, promotion=self._promotion(former))

        change_routes(self._cluster, self._namespace, self._endpoint, change)
        self._former = former
        self._before = self._unwell()
        return former

    def _promotion(self, former: Mapping[str, int]) -> Promotion:
        self._renewed = time.monotonic()
        until = time.time() + self._silence
        return Promotion(candidate=self._candidate, former=dict(former), holder=holder(), until=until)

    def shift(self, shares: Mapping[str, int]) -> dict[str, int]:
        """By the weights of the routes."""
        self._renew()
        return set_traffic(self._cluster, self._namespace, self._endpoint, shares)

    def _renew(self) -> None:
        def change(now: ClusterRecord) -> ClusterRecord:
            # somebody may have taken a promotion over that was silent for too long
            refuse_while_promoting(now)
            return replace(now, promotion=self._promotion(self._former))

        change_routes(self._cluster, self._namespace, self._endpoint, change)

    def clock(self) -> float:
        """That of this process."""
        return time.monotonic()

    def measured(self, candidate: str, since: float) -> Mapping[str, Any]:
        """What probes took, from here to the last byte; and failures that pods show."""
        if time.monotonic() - self._renewed > _SILENCE_SECONDS / 2:
            self._renew()
        found: dict[str, Any] = dict(self._measures.report(since)["deployments"].get(candidate, {}))
        return found | {"trouble": self._trouble()}

    def _trouble(self) -> str:
        try:
            now = self._unwell()
        except ClusterError as error:
            # a moment without the API server says nothing about the candidate
            if error.status in (401, 403):
                raise
            return ""
        worse = [pod for pod, times in now.items() if times > self._before.get(pod, 0)]
        return f"its pod {worse[0]} is not ready, or has begun again" if worse else ""

    def _unwell(self) -> dict[str, int]:
        """Restarts of each pod; a container that is not ready counts as one."""
        found = {}
        for pod in self._cluster.list("Pod", self._namespace, selector(self._endpoint, self._candidate)):
            if pod["metadata"].get("deletionTimestamp"):
                continue
            states = pod.get("status", {}).get("containerStatuses", [])
            unready = sum(not state.get("ready", False) for state in states)
            found[pod["metadata"]["name"]] = unready + sum(state.get("restartCount", 0) for state in states)
        return found

    def _timed(self) -> None:
        started = time.monotonic()
        try:
            self._ask()
        except PlatformError:
            self._measures.add(self._candidate, started, _FAILED)
            raise
        self._measures.add(self._candidate, started, 200)

    def end(self) -> None:
        """Take the note out of the routes again."""
        change_routes(self._cluster, self._namespace, self._endpoint, lambda now: replace(now, promotion=None))
