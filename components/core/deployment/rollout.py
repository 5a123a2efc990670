"""Waiting until what was applied is ready, with progress; and saying why when it is not."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.core.deployment.diagnosis import Trouble, diagnose
from components.core.deployment.kubernetes_api import Cluster, ClusterError, Object
from components.core.deployment.rendering import SETTINGS_ANNOTATION, pod_annotations
from components.core.errors import PlatformError

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds."""

    total: float = 1800.0
    """Until everything is ready."""
    failing: float = 60.0
    """With a cause that waiting does not cure."""
    poll: float = 2.0
    say_again: float = 30.0
    """Between two lines when nothing changes."""


class State(NamedTuple):
    """How far one workload is."""

    ready: bool
    line: str
    """For people, such as `1 of 2 pods ready`."""
    pods: list[Object]
    """Those with the settings that were applied."""


class NotReady(PlatformError):
    """A workload did not become ready."""


STAYS = "What was applied stays: put it right and run the same command again."


def wait_until_ready(
    cluster: Cluster,
    documents: Sequence[Object],
    patience: Patience,
    say: Callable[[str], None] = print,
    afterwards: str = STAYS,
) -> None:
    """Wait for all InferenceServices and Deployments among documents.

    Args:
        cluster: Where they were applied.
        documents: As applied.
        patience: When to give up.
        say: Gets the lines of progress.
        afterwards: What becomes of them when they do not get ready.

    Raises:
        NotReady: With the causes that were found and their remedies.
    """
    for document in documents:
        if document["kind"] in ("InferenceService", "Deployment"):
            _Wait(cluster, document, patience, say, afterwards).run()


class _Wait:
    """The wait for one workload."""

    def __init__(
        self, cluster: Cluster, document: Object, patience: Patience, say: Callable[[str], None], afterwards: str
    ) -> None:
        self.cluster, self.document, self.patience, self.say = cluster, document, patience, say
        self.afterwards = afterwards
        self.title = f"{document['kind']} {document['metadata']['name']}"
        self._started = self._said_at = time.monotonic()
        self._failing_since: float | None = None
        self._said = self._lost = ""

    def run(self) -> None:
        while True:
            try:
                state = read_state(self.cluster, self.document)
                troubles = [] if state.ready else self._troubles(state)
                self._lost = ""
            except ClusterError as error:
                # a moment without the API server is no failure of what is deployed
                if error.status in (401, 403, 404):
                    raise
                state, troubles, self._lost = State(False, f"{error}", []), [], str(error)
            self._tell(state, troubles)
            if state.ready:
                return
            self._give_up(state, troubles)
            time.sleep(self.patience.poll)

    def _troubles(self, state: State) -> list[Trouble]:
        metadata = self.document["metadata"]
        owner = metadata["name"] + ("-predictor" if self.document["kind"] == "InferenceService" else "")
        return diagnose(self.cluster, metadata["namespace"], state.pods, owner)

    def _tell(self, state: State, troubles: list[Trouble]) -> None:
        now = time.monotonic()
        line = "; ".join([state.line, *(trouble.what for trouble in troubles)])
        if line != self._said or now - self._said_at > self.patience.say_again or state.ready:
            self.say(f"  {self.title}: {line} ({now - self._started:.0f} s)")
            self._said, self._said_at = line, now

    def _give_up(self, state: State, troubles: list[Trouble]) -> None:
        now = time.monotonic()
        lasting = any(trouble.lasting for trouble in troubles)
        self._failing_since = (self._failing_since or now) if lasting else None
        failed = self._failing_since is not None and now - self._failing_since >= self.patience.failing
        if not failed and now - self._started < self.patience.total:
            return
        causes = "\n".join(f"  {trouble.what}\n    -> {trouble.remedy}" for trouble in troubles) or f"  {state.line}"
        raise NotReady(f"{self.title} is not ready after {now - self._started:.0f} s:\n{causes}\n{self.afterwards}")


def read_state(cluster: Cluster, document: Object) -> State:
    """How far a workload is, by the objects that its controllers keep up to date."""
    metadata = document["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    wanted = (pod_annotations(document) or {}).get(SETTINGS_ANNOTATION)
    if document["kind"] == "Deployment":
        labels = document["spec"]["selector"]["matchLabels"]
        pods = _pods(cluster, namespace, ",".join(f"{k}={v}" for k, v in labels.items()), wanted)
        return _rollout(cluster.get("Deployment", name, namespace), wanted, pods)
    pods = _pods(cluster, namespace, f"serving.kserve.io/inferenceservice={name}", wanted)
    live = cluster.get("InferenceService", name, namespace) or {}
    if metadata.get("annotations", {}).get(MODE_ANNOTATION) == "Knative":
        behind = _revision(cluster.get("KnativeService", f"{name}-predictor", namespace), wanted, pods)
    else:
        behind = _rollout(cluster.get("Deployment", f"{name}-predictor", namespace), wanted, pods)
    # the InferenceService stays Ready while old pods serve, so what is behind it is looked at first
    return _service(live, behind) if behind.ready else behind


def _service(live: Object, behind: State) -> State:
    conditions = {c["type"]: c for c in live.get("status", {}).get("conditions", [])}
    if conditions.get("Ready", {}).get("status") == "True":
        return behind._replace(line="ready")
    open_ones = [c for c in conditions.values() if c["type"] != "Ready" and c.get("status") != "True"]
    said = "; ".join(f"{c['type']} {c.get('reason', '')} {c.get('message', '')}".strip() for c in open_ones)
    return State(False, said or "KServe has not seen it yet", behind.pods)


def _revision(live: Object | None, wanted: str | None, pods: list[Object]) -> State:
    if live is None:
        return State(False, "waiting for its Knative service", pods)
    status = live.get("status", {})
    if _settings(live) != wanted or status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return State(False, "waiting for the new revision", pods)
    ready = status.get("latestReadyRevisionName") == status.get("latestCreatedRevisionName")
    return State(ready, "ready" if ready else "the new revision is not ready yet", pods)


def _settings(live: Object) -> str | None:
    annotations = live["spec"].get("template", {}).get("metadata", {}).get("annotations", {})
    found: str | None = annotations.get(SETTINGS_ANNOTATION)
    return found


def _rollout(live: Object | None, wanted: str | None, pods: list[Object]) -> State:
    if live is None:
        return State(False, "waiting for its Deployment", pods)
    status, metadata = live.get("status", {}), live["metadata"]
    if _settings(live) != wanted or status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return State(False, "waiting for the new pods", pods)
    replicas = live["spec"].get("replicas", 1)
    updated, ready = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    line = f"{min(updated, ready)} of {replicas} pods ready" + (f", {old} old ones leaving" if old > 0 else "")
    return State(updated >= replicas and ready >= replicas and old <= 0, line, pods)


def _pods(cluster: Cluster, namespace: str, labels: str, wanted: str | None) -> list[Object]:
    found = cluster.list("Pod", namespace, labels)
    living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
    return [p for p in living if p["metadata"].get("annotations", {}).get(SETTINGS_ANNOTATION) == wanted]
