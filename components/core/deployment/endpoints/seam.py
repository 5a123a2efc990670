"""What the endpoint command asks of the place where endpoints are: this machine, or a cluster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from components.core.deployment.endpoints.invoking import Answered
from components.core.deployment.endpoints.keys import Which
from components.core.deployment.endpoints.promotion import Host, Say
from components.core.deployment.endpoints.record import DeploymentOptions


@dataclass(frozen=True)
class Created:
    """An endpoint that is new."""

    name: str
    address: str
    keys: dict[Which, str]
    key_header: str = "`Authorization: Bearer <key>` or `X-API-Key`"
    """How callers send one, for people."""
    model_words: str = "FOLDER"
    """What a model can be, for people."""


@dataclass(frozen=True)
class Rotated:
    """A key that was replaced."""

    key: str
    """The new one."""
    taken: str
    """From when on it counts, for people."""


@dataclass(frozen=True)
class DeploymentView:
    """One deployment as it is now."""

    name: str
    state: str
    """Such as `ready (process 28591, port 8300)`."""
    traffic: int
    """Percent."""
    model: str
    measured: str = ""
    """Statuses and latencies, where they are counted."""


@dataclass(frozen=True)
class EndpointView:
    """An endpoint as it is now."""

    name: str
    created: datetime
    address: str
    front: str
    """What splits the traffic, and how it is."""
    deployments: list[DeploymentView]
    notes: list[str] = field(default_factory=list)
    """What is wrong, and what to do about it."""


class Endpoints(Protocol):
    """Endpoints of one place. Every method raises ConfigError where there is no such endpoint or deployment."""

    where: str
    """Such as `on this machine`."""

    def create(self, name: str, port: int | None, keep_keys: bool) -> Created:
        """Make an endpoint without deployments."""

    def deploy(self, endpoint: str, name: str, model: str, options: DeploymentOptions, say: Say) -> str:
        """Bring a model behind it, without traffic, and wait until it is ready; says what it runs as."""

    def traffic(self, endpoint: str) -> dict[str, int]:
        """Percent by deployment."""

    def set_traffic(self, endpoint: str, shares: Mapping[str, int]) -> dict[str, int]:
        """Split the traffic; the shares must sum to 100."""

    def invoke(
        self, endpoint: str, request: dict[str, Any], deployment: str | None, path: str, key: str | None
    ) -> Answered:
        """Send one request, to the deployment that is named or to the one that the split chooses."""

    def keys(self, endpoint: str) -> dict[Which, str]:
        """Both keys."""

    def rotate(self, endpoint: str, which: Which, say: Say) -> Rotated:
        """Replace one key, and see that it is taken."""

    def names(self) -> list[str]:
        """Of all endpoints."""

    def view(self, endpoint: str) -> EndpointView:
        """How it is now, whatever was recorded."""

    def model_of(self, endpoint: str, deployment: str) -> str:
        """What a deployment serves."""

    def host(self, endpoint: str, candidate: str, probe: Callable[[], None] | None) -> Host:
        """Where a promotion happens.

        Args:
            endpoint: Its name.
            candidate: The deployment to move on.
            probe: Sends one request to it.
        """

    def remove(self, endpoint: str, deployment: str, say: Say) -> str:
        """End a deployment that gets no traffic, and wait until it is gone; says what of it is."""

    def delete(self, endpoint: str, say: Say) -> str:
        """End an endpoint and wait until all of it is gone; says what of it is."""
