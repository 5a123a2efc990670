"""Taking an endpoint or a deployment out of the cluster, and waiting until nothing of it is left."""

import time
from collections.abc import Sequence
from dataclasses import replace

from components.core.deployment.cluster_endpoints.changes import change_routes, refuse_while_promoting
from components.core.deployment.cluster_endpoints.names import check_endpoint_name, selector
from components.core.deployment.cluster_endpoints.record import ClusterRecord, read_record
from components.core.deployment.endpoints.promotion import Say
from components.core.deployment.kubernetes_api import Cluster, ClusterError, Object
from components.core.errors import ConfigError, PlatformError

PATIENCE_SECONDS = 300.0
_FIRST = ("VirtualService", "Service", "InferenceService")
"""Nobody is sent to pods that end."""
_MADE_FROM_THEM = ("Deployment", "ReplicaSet", "Pod")
"""By controllers, with the same labels."""
_THEN = ("PodDisruptionBudget", "NetworkPolicy", "ServiceAccount", "PeerAuthentication", "Secret")
"""What guards the pods goes after them."""
_POLL_SECONDS = 0.5
_SAY_AGAIN_SECONDS = 30.0


def remove_deployment(
    cluster: Cluster, namespace: str, endpoint: str, name: str, say: Say, patience: float = PATIENCE_SECONDS
) -> None:
    """End a deployment that gets no traffic.

    Raises:
        ConfigError: If it is not there, or gets traffic.
        PlatformError: If something of it is still there in the end.
    """

    def change(now: ClusterRecord) -> ClusterRecord:
        refuse_while_promoting(now)
        now.find(name)
        if now.traffic.get(name):
            raise ConfigError(
                f"{name} gets {now.traffic[name]} % of the traffic. Give it to others first: "
                f"python -m llm-pipelines.endpoint --cluster traffic {endpoint} ..."
            )
        return replace(now, routed=tuple(each for each in now.routed if each.name != name))

    # out of the routes first, so that nobody is sent there while it ends
    change_routes(cluster, namespace, endpoint, change)
    take_out(cluster, namespace, selector(endpoint, name), say, patience)


def delete_endpoint(cluster: Cluster, namespace: str, name: str, say: Say, patience: float = PATIENCE_SECONDS) -> None:
    """End an endpoint with everything that belongs to it; a deletion that was cut off can be repeated.

    Raises:
        ConfigError: If there is nothing of such an endpoint.
        PlatformError: If something of it is still there in the end.
    """
    chosen = selector(check_endpoint_name(name))
    if not left_over(cluster, namespace, chosen):
        read_record(cluster, namespace, name)  # says which endpoints there are
    say(f"Deleting {name}")
    take_out(cluster, namespace, chosen, say, patience)


def _delete(cluster: Cluster, namespace: str, kinds: Sequence[str], labels: str, say: Say) -> None:
    for kind in kinds:
        for document in _listed(cluster, namespace, kind, labels):
            # what a controller made goes with its owner; what is leaving already needs no second word
            if document["metadata"].get("ownerReferences") or document["metadata"].get("deletionTimestamp"):
                continue
            name = document["metadata"]["name"]
            if cluster.delete(kind, name, namespace):
                say(f"  {kind} {name}: deleted")


def left_over(
    cluster: Cluster, namespace: str, labels: str, kinds: Sequence[str] = (*_FIRST, *_MADE_FROM_THEM, *_THEN)
) -> list[str]:
    """What of it is still there, such as `InferenceService ultra-demo (held by finalizer x)`."""
    found = []
    for kind in kinds:
        for document in _listed(cluster, namespace, kind, labels):
            metadata = document["metadata"]
            held = ", ".join(metadata.get("finalizers", []))
            found.append(f"{kind} {metadata['name']}" + (f" (held by finalizer {held})" if held else ""))
    return found


def _listed(cluster: Cluster, namespace: str, kind: str, labels: str) -> Sequence[Object]:
    try:
        return cluster.list(kind, namespace, labels)
    except ClusterError as error:
        # what we may not see we have not made
        if error.status != 403:
            raise
        return []


def take_out(cluster: Cluster, namespace: str, labels: str, say: Say, patience: float) -> None:
    """Delete everything with these labels and wait until it is gone.

    Raises:
        PlatformError: With what is still there in the end.
    """
    started = said_at = time.monotonic()
    said = ""
    while True:
        try:
            _delete(cluster, namespace, _FIRST, labels, say)
            left = left_over(cluster, namespace, labels, (*_FIRST, *_MADE_FROM_THEM))
            if not left:
                _delete(cluster, namespace, _THEN, labels, say)
                left = left_over(cluster, namespace, labels)
        except ClusterError as error:
            if error.status in (401, 403, 404):
                raise
            # a moment without the API server ends nothing
            left = [str(error)]
        if not left:
            return
        now = time.monotonic()
        if now - started > patience:
            raise PlatformError(
                f"still there after {patience:.0f} s: {', '.join(left)}. Look at why: kubectl describe -n {namespace} "
                f"{left[0].split()[0].lower()} {left[0].split()[1]}. Then run the same command again."
            )
        if (line := _waiting(left)) != said or now - said_at > _SAY_AGAIN_SECONDS:
            say(line)
            said, said_at = line, now
        time.sleep(_POLL_SECONDS)


def _waiting(left: Sequence[str]) -> str:
    pods = sum(each.startswith("Pod ") for each in left)
    return f"  waiting for {pods} pods to end" if pods else f"  waiting for {', '.join(left)}"
