"""Where the endpoint command works: on this machine, or on a cluster and through which gateway."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.core.errors import ConfigError
from components.core.settings import Settings

if TYPE_CHECKING:
    from components.core.deployment.cluster_endpoints.asking import Gateway
    from components.core.deployment.endpoints.seam import Endpoints

CATALOGUE = Path(__file__).parent / "recipes" / "models"


@dataclass(frozen=True)
class Place:
    """What was said before the command's name."""

    on_cluster: bool = False
    namespace: str | None = None

    def settings(self, settings: Settings) -> Settings:
        """The same, for the namespace that was named."""
        return settings.model_copy(update={"kfp_namespace": self.namespace}) if self.namespace else settings


def is_on_cluster(asked: bool | None) -> bool:
    """What was asked for, or else whether KUBECONFIG names a cluster."""
    return bool(os.environ.get("KUBECONFIG")) if asked is None else asked


def open_endpoints(
    place: Place, settings: Settings, ready_seconds: float | None = None, gone_seconds: float | None = None
) -> "Endpoints":
    """The endpoints of a place.

    Args:
        place: Which.
        settings: Folders, the Hub, the namespace, the sign-in.
        ready_seconds: Longest wait for a deployment on a cluster; none takes as long as its model may.
        gone_seconds: The same for what is deleted.

    Raises:
        ConfigError: If no cluster is configured, or the gateway's address is none.
    """
    if not place.on_cluster:
        from components.core.deployment.endpoints.local import LocalEndpoints

        return LocalEndpoints(settings)
    from components.core.deployment.cluster_endpoints.endpoints import ClusterEndpoints
    from components.core.deployment.cluster_endpoints.removal import PATIENCE_SECONDS
    from components.core.deployment.kubernetes_api import connect
    from components.core.deployment.rollout import Patience
    from components.core.recipe import read_catalogue

    patience = Patience(total=ready_seconds) if ready_seconds else None
    gone = gone_seconds or PATIENCE_SECONDS
    return ClusterEndpoints(connect(), settings, find_gateway(settings), read_catalogue(CATALOGUE), patience, gone)


def find_gateway(settings: Settings) -> "Gateway":
    """Kubeflow's gateway, where KFP_HOST names Kubeflow or its pipelines; with the sign-in of the other commands.

    Raises:
        ConfigError: If KFP_HOST is no address.
    """
    from components.core.deployment.cluster_endpoints.asking import Gateway

    host = os.environ.get("KFP_HOST", "")
    parts = urlsplit(host)
    if host and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ConfigError(f"KFP_HOST {host} is not an address. Write it as https://kubeflow.example.")

    def sign_in() -> Mapping[str, str]:
        # mypy cannot follow a folder whose name has a hyphen.
        from .remote.access import find_credentials  # type: ignore[import-not-found]

        credentials = find_credentials(settings)
        if credentials.token:
            return {"Authorization": f"Bearer {credentials.token()}"}
        return {"Cookie": credentials.cookies()} if credentials.cookies else {}

    return Gateway(f"{parts.scheme}://{parts.netloc}" if host else "", sign_in, settings.kfp_ca_file)
