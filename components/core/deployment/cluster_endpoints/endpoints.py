"""Endpoints of a cluster, as the endpoint command asks for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.core.deployment.cluster_endpoints.asking import Asker, Gateway, in_cluster
from components.core.deployment.cluster_endpoints.keys import (
    TAKEN_SECONDS,
    read_keys,
    replace_key,
    wait_until_taken,
)
from components.core.deployment.cluster_endpoints.lifecycle import create_endpoint, deploy, set_traffic
from components.core.deployment.cluster_endpoints.names import GATEWAY
from components.core.deployment.cluster_endpoints.promoting import ClusterHost
from components.core.deployment.cluster_endpoints.record import (
    ClusterDeployment,
    ClusterRecord,
    endpoint_names,
    read_record,
)
from components.core.deployment.cluster_endpoints.removal import PATIENCE_SECONDS, delete_endpoint, remove_deployment
from components.core.deployment.diagnosis import diagnose
from components.core.deployment.endpoints.invoking import Answered
from components.core.deployment.endpoints.keys import Which
from components.core.deployment.endpoints.promotion import Say
from components.core.deployment.endpoints.record import DeploymentOptions
from components.core.deployment.endpoints.seam import Created, DeploymentView, EndpointView, Rotated
from components.core.deployment.kubernetes_api import Cluster
from components.core.deployment.rollout import Patience, read_state
from components.core.errors import ConfigError
from components.core.recipe import CatalogueModel
from components.core.settings import Settings


class ClusterEndpoints:
    """InferenceServices behind routes of Istio.

    Args:
        cluster: Where they are.
        settings: The Hub, and the namespace.
        gateway: How they are asked from here.
        catalogue: Models, with the GPUs that they may be served from.
        patience: For a deployment to get ready; none takes as long as its model may.
        gone_seconds: For everything to be gone after a deletion.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        gateway: Gateway,
        catalogue: Sequence[CatalogueModel] = (),
        patience: Patience | None = None,
        gone_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._cluster, self._settings, self._gateway, self._catalogue = cluster, settings, gateway, catalogue
        self._namespace, self._patience, self._gone_seconds = settings.namespace, patience, gone_seconds
        self.where = f"in namespace {self._namespace}"

    def create(self, name: str, port: int | None, keep_keys: bool) -> Created:
        """Keys, host and routes; there is no port, and the Secret keeps the keys.

        Raises:
            ConfigError: If a port or keys that nobody keeps are asked for.
        """
        if port is not None or not keep_keys:
            raise ConfigError("--port and --keys-once are for this machine: a cluster has a gateway and a Secret.")
        keys = create_endpoint(self._cluster, self._namespace, name)
        header = "`X-API-Key`" + ("" if in_cluster() else " (`Authorization` is for the gateway's sign-in)")
        model = "user/repo@commit|pvc://CLAIM/PATH"
        return Created(name, self._gateway.address_of(name, self._namespace), keys, header, model)

    def deploy(self, endpoint: str, name: str, model: str, options: DeploymentOptions, say: Say) -> str:
        """An InferenceService on a model."""
        deploy(
            self._cluster, self._namespace, endpoint, name, model, options, self._settings, self._catalogue,
            self._patience, say,
        )  # fmt: skip
        return f"InferenceService {endpoint}-{name}"

    def traffic(self, endpoint: str) -> dict[str, int]:
        """As the routes have it."""
        return self._record(endpoint).traffic

    def set_traffic(self, endpoint: str, shares: Mapping[str, int]) -> dict[str, int]:
        """By the weights of the routes."""
        return set_traffic(self._cluster, self._namespace, endpoint, shares)

    def invoke(
        self, endpoint: str, request: dict[str, Any], deployment: str | None, path: str, key: str | None
    ) -> Answered:
        """Ask through the gateway, or inside the mesh from a pod."""
        self._record(endpoint)
        return self._asker(endpoint).invoke(request, key or self.keys(endpoint)["primary"], deployment, path)

    def keys(self, endpoint: str) -> dict[Which, str]:
        """As the Secret has them."""
        self._record(endpoint)
        return read_keys(self._cluster, self._namespace, endpoint)

    def rotate(self, endpoint: str, which: Which, say: Say) -> Rotated:
        """In the Secret; then it is asked until all deployments take it, where they can be asked from here.

        Raises:
            ServingError: If one of them does not.
        """
        record = self._record(endpoint)
        new, old = replace_key(self._cluster, self._namespace, endpoint, which)
        if not self._gateway.known:
            later = f"The pods take it within {TAKEN_SECONDS:.0f} s; with KFP_HOST set, this command waits for it."
            return Rotated(new, later)
        ready = {each.name for each in record.routed}
        asked = {each.name: each.options.instances for each in record.deployments if each.name in ready}
        wait_until_taken(asked, self._asker(endpoint).lets_in, new, old, say)
        return Rotated(new, "Every deployment takes the new key, and no longer the old one.")

    def names(self) -> list[str]:
        """By name."""
        return endpoint_names(self._cluster, self._namespace)

    def view(self, endpoint: str) -> EndpointView:
        """As the objects of the cluster are."""
        record = self._record(endpoint)
        deployments, notes = [], self._cut_off(record)
        for each in record.deployments:
            state, wrong = self._state(each)
            deployments.append(DeploymentView(each.name, state, record.traffic.get(each.name, 0), each.model))
            notes += wrong
            if state.startswith("ready") and each.name not in [routed.name for routed in record.routed]:
                notes.append(f"{each.name} has no route: its deployment was cut off. Delete it, and deploy it again.")
        gone = [name for name in record.traffic if name not in [each.name for each in record.deployments]]
        notes += [f"{name} gets traffic, and its InferenceService is gone: set the traffic anew" for name in gone]
        address = self._gateway.address_of(endpoint, self._namespace)
        front = f"VirtualService {endpoint} ({GATEWAY}), {endpoint}.mesh (callers with a sidecar)"
        return EndpointView(endpoint, record.created, address, front, deployments, notes)

    def _state(self, deployment: ClusterDeployment) -> tuple[str, list[str]]:
        service, options = deployment.service, deployment.options
        if service["metadata"].get("deletionTimestamp"):
            return "being removed", []
        found = read_state(self._cluster, service)
        name = service["metadata"]["name"]
        asked = f"{options.instances} instance{'s' if options.instances > 1 else ''}"
        state = f"ready ({asked}, InferenceService {name})" if found.ready else f"not ready ({found.line})"
        if found.ready:
            return state, []
        troubles = diagnose(self._cluster, self._namespace, found.pods, f"{name}-predictor")
        return state, [f"{deployment.name}: {trouble.what} -> {trouble.remedy}" for trouble in troubles]

    def _cut_off(self, record: ClusterRecord) -> list[str]:
        promotion = record.promotion
        if promotion is None:
            return []
        if promotion.goes_on:
            return [f"{promotion.candidate} is being promoted by {promotion.holder}"]
        former = " ".join(f"{name}={share}" for name, share in promotion.former.items())
        return [
            f"a promotion of {promotion.candidate} was killed before its end. Go back: "
            f"python -m llm-pipelines.endpoint --cluster traffic {record.name} {former}"
        ]

    def model_of(self, endpoint: str, deployment: str) -> str:
        """`hf://user/repo[@sha]` or `pvc://claim/path`."""
        return self._record(endpoint).find(deployment).model

    def host(self, endpoint: str, candidate: str, probe: Callable[[], None] | None) -> ClusterHost:
        """Measured by probes."""
        return ClusterHost(self._cluster, self._namespace, endpoint, candidate, probe)

    def remove(self, endpoint: str, deployment: str, say: Say) -> str:
        """Its InferenceService and all that belongs to it."""
        remove_deployment(self._cluster, self._namespace, endpoint, deployment, say, self._gone_seconds)
        return "its InferenceService, pods and routes are gone"

    def delete(self, endpoint: str, say: Say) -> str:
        """Routes, InferenceServices and keys."""
        delete_endpoint(self._cluster, self._namespace, endpoint, say, self._gone_seconds)
        return "no InferenceService, pod, route or key of it is left"

    def _record(self, endpoint: str) -> ClusterRecord:
        return read_record(self._cluster, self._namespace, endpoint)

    def _asker(self, endpoint: str) -> Asker:
        return Asker(self._gateway, endpoint, self._namespace)
