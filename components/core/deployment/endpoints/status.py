"""What of an endpoint runs, and what its front has measured."""

from dataclasses import dataclass
from typing import Any, Literal

from components.core.deployment.endpoints.front import MEASURES_PATH
from components.core.deployment.endpoints.keys import read_internal_key
from components.core.deployment.endpoints.processes import is_promoting, is_running
from components.core.deployment.endpoints.record import Deployment, EndpointFolder, EndpointRecord
from components.core.deployment.local_servers import ServingError
from components.core.errors import PlatformError
from components.core.settings import Settings

State = Literal["ready", "starting", "dead"]


@dataclass(frozen=True)
class DeploymentStatus:
    """One deployment."""

    deployment: Deployment
    state: State
    traffic: int
    """Percent."""
    measured: dict[str, Any]
    """As the front reports it; empty where nobody has asked yet, or the front is dead."""


@dataclass(frozen=True)
class EndpointStatus:
    """An endpoint."""

    record: EndpointRecord
    front: State
    deployments: list[DeploymentStatus]
    cut_off: str | None
    """What a promotion that was killed left behind, in words."""


def endpoint_status(name: str, settings: Settings) -> EndpointStatus:
    """Look at the processes themselves: one that has died is told as dead, whatever the record says.

    Raises:
        ConfigError: If there is no such endpoint.
        StorageError: If its record is damaged.
    """
    folder = EndpointFolder(settings.whetstone_home, name)
    record = folder.read()
    front: State = "ready" if record.front and is_running(record.front) else "dead"
    measured: dict[str, Any] = {}
    if front == "ready":
        try:
            measured = read_measures(folder, record)["deployments"]
        except PlatformError:
            front = "starting"
    deployments = [
        DeploymentStatus(
            each, _state(each), record.traffic.get(each.name, 0), measured.get(each.name, {})
        )
        for each in record.deployments
    ]  # fmt: skip
    return EndpointStatus(record, front, deployments, _cut_off(record))


def _state(deployment: Deployment) -> State:
    return deployment.state if is_running(deployment.server) else "dead"


def _cut_off(record: EndpointRecord) -> str | None:
    promotion = record.promotion
    if promotion is None or is_promoting(record):
        return None
    former = " ".join(f"{name}={share}" for name, share in promotion.former.items())
    return (
        f"a promotion of {promotion.candidate} was killed before its end. Go back: "
        f"python -m llm-pipelines.endpoint traffic {record.name} {former}"
    )


def address_of(record: EndpointRecord) -> str:
    """Where the front listens.

    Raises:
        ServingError: If it does not run.
    """
    if record.front is None or not is_running(record.front):
        raise ServingError(
            f"the front of {record.name} does not run (any more). Delete the endpoint and create it again: "
            f"python -m llm-pipelines.endpoint delete {record.name}"
        )
    return record.front.address


def read_measures(folder: EndpointFolder, record: EndpointRecord, since: float = 0.0) -> dict[str, Any]:
    """Counts of all requests by deployment, and what those took that ended after `since` on the front's clock.

    Raises:
        ServingError: If the front does not say.
    """
    import httpx

    headers = {"X-Internal-Key": read_internal_key(folder.path)}
    try:
        answer = httpx.get(
            address_of(record) + MEASURES_PATH, params={"since": since}, headers=headers, timeout=10.0, trust_env=False
        )
        answer.raise_for_status()
        return dict(answer.json())
    except (httpx.HTTPError, ValueError) as error:
        log = folder.path / "front.log"
        raise ServingError(f"the front of {record.name} does not answer ({error}). Its log is {log}.") from error
