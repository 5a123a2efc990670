"""What is known about an endpoint of a cluster: its objects are the record, so there is no other to disagree with."""

import json
import time
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.deployment.cluster_endpoints.names import (
    DEPLOYMENT_LABEL,
    ENDPOINT_LABEL,
    MODEL_ANNOTATION,
    OPTIONS_ANNOTATION,
    PROMOTION_ANNOTATION,
    check_endpoint_name,
    selector,
)
from components.core.deployment.cluster_endpoints.routes import Routed, read_routed, read_traffic
from components.core.deployment.endpoints.record import DeploymentOptions, find_deployment
from components.core.deployment.kubernetes_api import Cluster, Object
from components.core.errors import ConfigError, StorageError


class Promotion(BaseModel):
    """A promotion that goes on, or that was cut off; an annotation of the routes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    former: dict[str, int]
    """The split to go back to."""
    holder: str
    """Who promotes: host and process."""
    until: float
    """Seconds since 1970; later it counts as cut off, unless it was renewed."""

    @property
    def goes_on(self) -> bool:
        """Whether its holder has been heard of lately."""
        return self.until > time.time()


@dataclass(frozen=True)
class ClusterDeployment:
    """One deployment, as its InferenceService says."""

    name: str
    service: Object
    model: str
    options: DeploymentOptions


@dataclass(frozen=True)
class ClusterRecord:
    """One endpoint."""

    name: str
    created: datetime
    deployments: tuple[ClusterDeployment, ...]
    """Also those that are starting."""
    routed: tuple[Routed, ...]
    """Those that are ready."""
    traffic: dict[str, int]
    promotion: Promotion | None
    version: str
    """Of the routes: a change is refused where somebody else has changed them meanwhile."""

    def find(self, name: str) -> ClusterDeployment:
        """A deployment.

        Raises:
            ConfigError: If there is none of this name.
        """
        return find_deployment(self.name, self.deployments, name)


def endpoint_names(cluster: Cluster, namespace: str) -> list[str]:
    """All endpoints of a namespace, by name; a deletion that was cut off leaves one with its Secret alone."""
    found = set()
    for kind in ("VirtualService", "Secret"):
        for document in cluster.list(kind, namespace):
            found.add(document["metadata"].get("labels", {}).get(ENDPOINT_LABEL, ""))
    return sorted(found - {""})


def read_record(cluster: Cluster, namespace: str, name: str) -> ClusterRecord:
    """Read an endpoint.

    Raises:
        ConfigError: If there is no such endpoint.
        StorageError: If an annotation of ours was changed by hand.
    """
    routes = cluster.get("VirtualService", check_endpoint_name(name), namespace)
    if routes is None or routes["metadata"].get("labels", {}).get(ENDPOINT_LABEL) != name:
        there = ", ".join(endpoint_names(cluster, namespace)) or "none"
        raise ConfigError(f"there is no endpoint {name} in namespace {namespace} (there are: {there}).")
    services = cluster.list("InferenceService", namespace, selector(name))
    metadata = routes["metadata"]
    try:
        promotion = metadata.get("annotations", {}).get(PROMOTION_ANNOTATION)
        return ClusterRecord(
            name=name,
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
            deployments=tuple(_deployment(service) for service in services),
            routed=tuple(read_routed(routes)),
            traffic=read_traffic(routes),
            promotion=Promotion.model_validate_json(promotion) if promotion else None,
            version=str(metadata.get("resourceVersion", "")),
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise StorageError(
            f"the objects of {name} in namespace {namespace} are not as this command wrote them ({error}). "
            f"Delete the endpoint and create it again: python -m llm-pipelines.endpoint --cluster delete {name}"
        ) from error


def _deployment(service: Object) -> ClusterDeployment:
    metadata = service["metadata"]
    # a list leaves out what kind its items are
    return ClusterDeployment(
        name=metadata["labels"][DEPLOYMENT_LABEL],
        service={**service, "kind": "InferenceService"},
        model=metadata["annotations"][MODEL_ANNOTATION],
        options=DeploymentOptions.model_validate(json.loads(metadata["annotations"][OPTIONS_ANNOTATION])),
    )
