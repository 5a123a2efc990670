"""The objects of an endpoint and of each of its deployments."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from components.core.deployment.cluster_endpoints.names import (
    MODEL_ANNOTATION,
    OPTIONS_ANNOTATION,
    keys_secret,
    labels,
    service_name,
)
from components.core.deployment.endpoint_documents import endpoint_documents
from components.core.deployment.endpoints.record import DeploymentOptions
from components.core.deployment.kubernetes_api import Object
from components.core.deployment.rendering import MANAGED_LABEL, find
from components.core.deployment.startup import PERIOD_SECONDS
from components.core.errors import ConfigError

GPU = "nvidia.com/gpu"
GPU_MEMORY = ("12Gi", "16Gi")
"""Of the host: request and limit, as the component `gpu` of the manifests has them."""
_ISTIO = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}
_PROXY = 'holdApplicationUntilProxyStarts: true\nproxyMetadata:\n  EXIT_ON_ZERO_ACTIVE_CONNECTIONS: "true"\n'
"""The model is downloaded at start, and before the proxy runs there is no network; it leaves after the last answer."""


@dataclass(frozen=True)
class Served:
    """What a deployment runs with."""

    model: str
    """`hf://user/repo[@sha]` or `pvc://claim/path`."""
    image: str
    environment: dict[str, str]
    """More addresses; never a secret."""
    token: tuple[str, str]
    """Secret and key of the Hub's token."""
    size_bytes: int | None = None
    """Of the weights."""
    gpu_products: Sequence[str] = ()
    """Labels of the GPUs that it may land on; none takes any."""


def front_documents(endpoint: str, namespace: str) -> list[Object]:
    """What an endpoint has beside its Secret and its routes: the host of callers in the mesh, and no plain text.

    The Service selects no pods: a caller without a sidecar finds nobody there, instead of every deployment in turn.
    """
    metadata = {"namespace": namespace, "labels": labels(endpoint) | {MANAGED_LABEL: "whetstone"}}
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": endpoint, **metadata},
            "spec": {"selector": {"matchLabels": labels(endpoint)}, "mtls": {"mode": "STRICT"}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": endpoint, **metadata},
            "spec": {"type": "ClusterIP", "ports": ports},
        },
    ]


def deployment_documents(
    endpoint: str, name: str, namespace: str, served: Served, options: DeploymentOptions
) -> list[Object]:
    """Service account, network policy, InferenceService and disruption budget of one deployment.

    Raises:
        ConfigError: If the model lies where no pod can read it, or the names are too long together.
    """
    environment = served.environment | {
        # all deployments answer to the endpoint's name, so that any of them can
        "SERVED_MODEL_NAME": endpoint,
        "REQUEST_TIMEOUT_SECONDS": f"{options.request_timeout_ms / 1000:g}",
    }
    documents = endpoint_documents(
        served.model,
        service_name(endpoint, name),
        namespace,
        served.image,
        environment,
        served.token,
        served.size_bytes,
    )
    for document in documents:
        document["metadata"]["labels"] |= labels(endpoint, name)
    service, policy = find(documents, "InferenceService"), find(documents, "NetworkPolicy")
    if service is None or policy is None:
        raise ConfigError(
            "endpoint.yaml holds no InferenceService or no NetworkPolicy. Restore it from the repository."
        )
    service["metadata"]["annotations"] |= {
        MODEL_ANNOTATION: served.model,
        OPTIONS_ANNOTATION: json.dumps(options.model_dump(), sort_keys=True),
    }
    _open_to_the_mesh(policy)
    predictor = service["spec"]["predictor"]
    predictor |= {
        "minReplicas": options.instances,
        "maxReplicas": options.instances,
        "timeout": math.ceil(options.request_timeout_ms / 1000),
        # without a sidecar nothing enforces who may ask: not left to the label of the namespace
        "labels": labels(endpoint, name) | {"sidecar.istio.io/inject": "true"},
    }
    predictor["annotations"]["proxy.istio.io/config"] = _PROXY
    _wait_for_the_model(predictor["containers"][0], options.liveness_initial_delay_seconds)
    next(volume for volume in predictor["volumes"] if volume["name"] == "keys")["secret"]["secretName"] = keys_secret(
        endpoint
    )
    if options.gpus:
        _give_gpus(service, options.gpus, served.gpu_products)
    return documents


def _open_to_the_mesh(policy: Object) -> None:
    """Callers of the namespace and the gateway may connect, keys decide; the sidecar reaches istiod."""
    policy["spec"]["ingress"] = [
        {"from": [{"podSelector": {}}, dict(_ISTIO)], "ports": [{"protocol": "TCP", "port": 8080}]}
    ]
    policy["spec"]["egress"].append({"to": [dict(_ISTIO)], "ports": [{"protocol": "TCP", "port": 15012}]})


def _wait_for_the_model(container: Object, seconds: int) -> None:
    """A model may take so long to load, or longer where its size says so, before anything counts it as dead."""
    container["livenessProbe"]["initialDelaySeconds"] = seconds
    probe = container["startupProbe"]
    probe["failureThreshold"] = max(probe["failureThreshold"], math.ceil(seconds / PERIOD_SECONDS))


def startup_seconds_of(documents: Sequence[Object]) -> float:
    """How long the pods of a deployment may take to start."""
    service = find(documents, "InferenceService") or {}
    probe = service["spec"]["predictor"]["containers"][0]["startupProbe"]
    return float(probe["failureThreshold"] * probe["periodSeconds"])


def _give_gpus(service: Object, count: int, products: Sequence[str]) -> None:
    """What the component `gpu` of the manifests does, with a number of them on GPUs of these types."""
    predictor = service["spec"]["predictor"]
    container = predictor["containers"][0]
    for side, memory in zip(("requests", "limits"), GPU_MEMORY, strict=True):
        container["resources"][side] |= {GPU: str(count), "memory": memory}
    # OpenVINO, the default, is for CPUs
    container["env"].append({"name": "ENGINE", "value": "transformers"})
    container["volumeMounts"].append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - of the pod
    predictor["volumes"].append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "5Gi"}})
    predictor["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
    # CPU use says nothing about a busy GPU
    service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "none"
    for field in ("scaleMetric", "scaleTarget"):
        predictor.pop(field, None)
    if products:
        term = {"key": f"{GPU}.product", "operator": "In", "values": list(products)}
        wanted = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
        predictor["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}
