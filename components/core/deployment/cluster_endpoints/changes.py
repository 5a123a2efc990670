"""A change of an endpoint's routes, while others may change them at the same time."""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from components.core.deployment.cluster_endpoints.names import PROMOTION_ANNOTATION
from components.core.deployment.cluster_endpoints.record import ClusterRecord, Promotion, read_record
from components.core.deployment.cluster_endpoints.routes import Routed, virtual_services
from components.core.deployment.kubernetes_api import Cluster, ClusterError
from components.core.errors import ConfigError

_TRIES = 6
_WAIT_SECONDS = 0.5
_CONFLICT = 409
Change = Callable[[ClusterRecord], ClusterRecord]


def change_routes(cluster: Cluster, namespace: str, endpoint: str, change: Change) -> ClusterRecord:
    """Read an endpoint, change `routed`, `traffic` or `promotion`, and write its routes.

    Where somebody else has written them in between, or the API server is away for a moment, it is done again from the
    start, so that no change gets lost.

    Args:
        cluster: Where it is.
        namespace: Of the endpoint.
        endpoint: Its name.
        change: Gives the record as it shall be; raises where it cannot be.

    Returns:
        The record as it was asked for.

    Raises:
        ConfigError: If there is no such endpoint; and what `change` raises.
        ClusterError: If the cluster refuses.
    """
    for left in reversed(range(_TRIES)):
        try:
            before = read_record(cluster, namespace, endpoint)
            after = change(before)
            write_routes(cluster, namespace, endpoint, after.routed, after.traffic, after.promotion, before.version)
            return after
        except ClusterError as error:
            passing = error.status in (0, _CONFLICT) or error.status >= 500
            if not (passing and left):
                raise
            time.sleep(_WAIT_SECONDS)
    raise AssertionError("unreachable: the last try returns or raises")


def write_routes(
    cluster: Cluster,
    namespace: str,
    endpoint: str,
    deployments: Sequence[Routed],
    traffic: Mapping[str, int],
    promotion: Promotion | None = None,
    version: str = "",
) -> None:
    """Apply both VirtualServices; refused (409) where those behind the gateway are of another version by now."""
    outside, inside = virtual_services(endpoint, namespace, deployments, traffic)
    if version:
        outside["metadata"]["resourceVersion"] = version
    if promotion:
        outside["metadata"]["annotations"] = {PROMOTION_ANNOTATION: promotion.model_dump_json()}
    cluster.apply(outside)
    cluster.apply(inside)


def holder() -> str:
    """Who we are, for others that look at a promotion."""
    return f"{socket.gethostname()} process {os.getpid()}"


def refuse_while_promoting(record: ClusterRecord) -> None:
    """Raise ConfigError if somebody else promotes a deployment of this endpoint."""
    promotion = record.promotion
    if promotion and promotion.holder != holder() and promotion.goes_on:
        raise ConfigError(
            f"{promotion.candidate} of {record.name} is being promoted by {promotion.holder}. Wait for its end, or "
            "stop it: it then goes back to the former split by itself. After a kill -9 it counts as ended within "
            f"{max(1, round(promotion.until - time.time()))} s."
        )
