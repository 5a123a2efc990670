"""Where an endpoint of a cluster is asked, and one request to it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.deployment.cluster_endpoints.names import inside_host, path_prefix
from components.core.deployment.endpoints.forwarding import DEPLOYMENT_HEADERS
from components.core.deployment.endpoints.invoking import Answered
from components.core.deployment.local_servers import ServingError
from components.core.errors import ConfigError

ANSWER_SECONDS = 600.0
_LOOK_SECONDS = 10.0


def _nothing() -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Gateway:
    """The way into the cluster from here."""

    address: str = ""
    """Of Kubeflow, without a path; empty where it is not known."""
    sign_in: Callable[[], Mapping[str, str]] = field(default=_nothing)
    """Headers that its sign-in asks for, read anew for every request."""
    ca_file: Path | None = None
    """Certificates that its own is checked against."""

    @property
    def known(self) -> bool:
        """Whether an endpoint can be asked from here."""
        return bool(self.address) or in_cluster()

    def address_of(self, endpoint: str, namespace: str) -> str:
        """Where callers ask, for people too."""
        if in_cluster():
            return f"http://{inside_host(endpoint, namespace)}"
        return f"{self.address or 'https://<your Kubeflow address>'}{path_prefix(endpoint, namespace).rstrip('/')}"


def in_cluster() -> bool:
    """Whether this is a pod: it asks inside the mesh."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


@dataclass(frozen=True)
class Asker:
    """Asks one endpoint.

    Args:
        gateway: The way there.
        endpoint: Name.
        namespace: Of the endpoint.
    """

    gateway: Gateway
    endpoint: str
    namespace: str

    def invoke(self, request: dict[str, Any], key: str, deployment: str | None, path: str) -> Answered:
        """Send one request.

        Raises:
            ConfigError: If it is not known where.
            ServingError: If the answer is not a success; with what it says.
        """
        answer = self._send("POST", path, key, deployment, ANSWER_SECONDS, request)
        if answer.status_code != 200:
            raise ServingError(
                f"the endpoint {self.endpoint} answered {answer.status_code} to {path}: {answer.text.strip()[:2000]}"
            )
        return Answered(answer.text, answer.headers.get(DEPLOYMENT_HEADERS[0], ""))

    def lets_in(self, deployment: str, key: str) -> bool:
        """Whether a deployment takes a key."""
        answer = self._send("GET", f"/v1/models/{self.endpoint}", key, deployment, _LOOK_SECONDS)
        return bool(answer.status_code != 401)

    def _send(self, method: str, path: str, key: str, deployment: str | None, seconds: float, body: Any = None) -> Any:
        import httpx

        if not self.gateway.known:
            raise ConfigError(
                f"nobody said where {self.endpoint} is reached from here. Set KFP_HOST to the address of Kubeflow "
                "(https://kubeflow.example), and KFP_TOKEN or KFP_COOKIES for its sign-in."
            )
        # in the other header the gateway looks for its own sign-in
        headers = {"X-API-Key": key}
        if not in_cluster():
            headers |= self.gateway.sign_in()
        if deployment is not None:
            headers[DEPLOYMENT_HEADERS[0]] = deployment
        url = self.gateway.address_of(self.endpoint, self.namespace) + path
        try:
            verify: Any = str(self.gateway.ca_file) if self.gateway.ca_file else True
            answer = httpx.request(method, url, json=body, headers=headers, timeout=seconds, verify=verify)
        except (httpx.HTTPError, OSError) as error:
            raise ServingError(
                f"the endpoint {self.endpoint} does not answer at {url} ({type(error).__name__}). Look at `status`."
            ) from error
        if answer.is_redirect or "text/html" in answer.headers.get("content-type", ""):
            raise ServingError(
                f"{url} answered with a login page ({answer.status_code}). Set KFP_TOKEN or KFP_COOKIES to a sign-in "
                "that is good now."
            )
        return answer
