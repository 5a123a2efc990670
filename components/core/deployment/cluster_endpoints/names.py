"""What the objects of an endpoint are called, and how they are found again."""

from components.core.deployment.endpoint_documents import LONGEST_NAME, endpoint_name
from components.core.deployment.endpoints.record import check_name
from components.core.errors import ConfigError

ENDPOINT_LABEL = "whetstone.dev/endpoint"
"""On every object of an endpoint, pods included."""
DEPLOYMENT_LABEL = "whetstone.dev/deployment"
"""On the objects of one deployment, beside the other."""
MODEL_ANNOTATION = "whetstone.dev/model"
OPTIONS_ANNOTATION = "whetstone.dev/options"
PROMOTION_ANNOTATION = "whetstone.dev/promotion"
GATEWAY = "kubeflow/kubeflow-gateway"
"""Behind it is the sign-in of Kubeflow; the page's manifests use it, too."""


def check_endpoint_name(name: str) -> str:
    """Give the name of an endpoint back if its objects may have it.

    Raises:
        ConfigError: If not.
    """
    return endpoint_name(check_name(name, "an endpoint"))


def service_name(endpoint: str, deployment: str) -> str:
    """The InferenceService of a deployment.

    Raises:
        ConfigError: If it would be too long, or is taken by something else of ours.
    """
    name = f"{check_name(endpoint, 'an endpoint')}-{check_name(deployment, 'a deployment')}"
    if len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name} is too long for an InferenceService ({len(name)} letters, at most {LONGEST_NAME}). Shorten the "
            "name of the endpoint or of the deployment."
        )
    return endpoint_name(name)


def keys_secret(endpoint: str) -> str:
    """The Secret with both keys."""
    return f"{endpoint}-keys"


def mesh_routes(endpoint: str) -> str:
    """The VirtualService for callers with a sidecar; a dot, as no endpoint can be called so."""
    return f"{endpoint}.mesh"


def inside_host(endpoint: str, namespace: str) -> str:
    """Where callers with a sidecar ask."""
    return f"{endpoint}.{namespace}.svc.cluster.local"


def predictor_host(service: str, namespace: str) -> str:
    """The Service that KServe makes for an InferenceService."""
    return f"{service}-predictor.{namespace}.svc.cluster.local"


def path_prefix(endpoint: str, namespace: str) -> str:
    """Below the gateway's address; the namespace keeps two profiles apart."""
    return f"/endpoints/{namespace}/{endpoint}/"


def selector(endpoint: str, deployment: str | None = None) -> str:
    """Label selector of everything of an endpoint, or of one deployment."""
    found = f"{ENDPOINT_LABEL}={endpoint}"
    return f"{found},{DEPLOYMENT_LABEL}={deployment}" if deployment else found


def labels(endpoint: str, deployment: str | None = None) -> dict[str, str]:
    """The same as labels."""
    return {ENDPOINT_LABEL: endpoint, **({DEPLOYMENT_LABEL: deployment} if deployment else {})}
