"""Endpoints of this machine, as the endpoint command asks for them."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from components.core.deployment.endpoints.invoking import Answered, invoke
from components.core.deployment.endpoints.keys import Which, shown_keys
from components.core.deployment.endpoints.lifecycle import (
    FRONT_PORT,
    Say,
    create_endpoint,
    delete_endpoint,
    deploy,
    remove_deployment,
    rotate_and_try,
    set_traffic,
)
from components.core.deployment.endpoints.processes import is_running, refuse_while_promoting
from components.core.deployment.endpoints.record import DeploymentOptions, EndpointFolder, Promotion, endpoint_names
from components.core.deployment.endpoints.seam import Created, DeploymentView, EndpointView, Rotated
from components.core.deployment.endpoints.status import endpoint_status, read_measures
from components.core.deployment.endpoints.traffic import with_share
from components.core.deployment.local_servers import Server
from components.core.errors import ConfigError
from components.core.settings import Settings


class LocalEndpoints:
    """Processes behind a front each.

    Args:
        settings: Where their folders are.
    """

    where = "on this machine"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def create(self, name: str, port: int | None, keep_keys: bool) -> Created:
        """Start a front; the port is where it is looked for first."""
        record, keys = create_endpoint(name, self._settings, port or FRONT_PORT, keep_keys)
        assert record.front is not None
        return Created(record.name, record.front.address, keys)

    def deploy(self, endpoint: str, name: str, model: str, options: DeploymentOptions, say: Say) -> str:
        """Start our own server on a model.

        Raises:
            ConfigError: If more than one instance, or GPUs, are asked for.
        """
        if options.instances > 1 or options.gpus or options.gpu_product:
            raise ConfigError(
                "--instances, --gpus and --gpu-product are for a cluster: on this machine a deployment is one process, "
                "with the GPUs that it finds. Leave them out."
            )
        made = deploy(endpoint, name, model, self._settings, options)
        return f"process {made.server.pid}"

    def traffic(self, endpoint: str) -> dict[str, int]:
        """As recorded."""
        return self._folder(endpoint).read().traffic

    def set_traffic(self, endpoint: str, shares: Mapping[str, int]) -> dict[str, int]:
        """From the next request on."""
        return set_traffic(endpoint, shares, self._settings).traffic

    def invoke(
        self, endpoint: str, request: dict[str, Any], deployment: str | None, path: str, key: str | None
    ) -> Answered:
        """Ask the front."""
        return invoke(endpoint, request, self._settings, deployment, path, key)

    def keys(self, endpoint: str) -> dict[Which, str]:
        """If they are kept."""
        folder = self._folder(endpoint)
        folder.check_there()
        return shown_keys(folder.path)

    def rotate(self, endpoint: str, which: Which, say: Say) -> Rotated:
        """At once."""
        key = rotate_and_try(endpoint, which, self._settings)
        return Rotated(key, "The front takes the new key, and no longer the old one.")

    def names(self) -> list[str]:
        """By name."""
        return endpoint_names(self._settings.whetstone_home)

    def view(self, endpoint: str) -> EndpointView:
        """As the processes are."""
        found = endpoint_status(endpoint, self._settings)
        record = found.record
        deployments, notes = [], [found.cut_off] if found.cut_off else []
        for each in found.deployments:
            made = each.deployment
            state = _state(each.state, made.server)
            deployments.append(DeploymentView(made.name, state, each.traffic, made.model, _counted(each.measured)))
            if each.state == "dead":
                notes.append(
                    f"{made.name} has died; its log is {made.name}.log. Delete it (--deployment), and deploy it again."
                )
        address = record.front.address if record.front else "-"
        return EndpointView(
            record.name, record.created, address, _state(found.front, record.front), deployments, notes
        )  # fmt: skip

    def model_of(self, endpoint: str, deployment: str) -> str:
        """Folder or Hub id."""
        return self._folder(endpoint).read().find(deployment).model

    def host(self, endpoint: str, candidate: str, probe: Callable[[], None] | None) -> "LocalHost":
        """Measured by the front, probes like any other request."""
        return LocalHost(endpoint, self._settings, probe)

    def remove(self, endpoint: str, deployment: str, say: Say) -> str:
        """End its process."""
        remove_deployment(endpoint, deployment, self._settings)
        return "its process and port are gone"

    def delete(self, endpoint: str, say: Say) -> str:
        """End all processes and remove the keys."""
        delete_endpoint(endpoint, self._settings, say)
        return "no process, port or key file of it is left"

    def _folder(self, endpoint: str) -> EndpointFolder:
        return EndpointFolder(self._settings.whetstone_home, endpoint)


class LocalHost:
    """A promotion behind a front of this machine, which measures every request.

    Args:
        endpoint: Its name.
        settings: Where its folder is.
        probe: Sends one request to the candidate.
    """

    def __init__(self, endpoint: str, settings: Settings, probe: Callable[[], None] | None = None) -> None:
        self._folder, self._settings, self.probe = EndpointFolder(settings.whetstone_home, endpoint), settings, probe

    def begin(self, candidate: str) -> dict[str, int]:
        """Record who promotes."""
        import psutil

        with self._folder.locked():
            record = self._folder.read()
            deployment = record.find(candidate)
            if deployment.state != "ready" or not is_running(deployment.server):
                raise ConfigError(f"{candidate} is not ready. Look at `status`.")
            refuse_while_promoting(record)
            # where a promotion of it was killed, the split from before that one is the one to go back to
            killed = record.promotion if record.promotion and record.promotion.candidate == candidate else None
            former = killed.former if killed else record.traffic
            with_share(former, candidate, 1)  # raises where nothing else has traffic
            created = psutil.Process().create_time()
            promotion = Promotion(candidate=candidate, former=former, pid=os.getpid(), created=created)
            self._folder.write(record.model_copy(update={"promotion": promotion}))
        return dict(former)

    def shift(self, shares: Mapping[str, int]) -> dict[str, int]:
        """From the next request on."""
        return set_traffic(self._folder.name, shares, self._settings).traffic

    def clock(self) -> float:
        """That of the front."""
        return float(read_measures(self._folder, self._folder.read())["now"])

    def measured(self, candidate: str, since: float) -> Mapping[str, Any]:
        """As the front counts."""
        found: Mapping[str, Any] = read_measures(self._folder, self._folder.read(), since)["deployments"]
        return dict(found.get(candidate, {}))

    def end(self) -> None:
        """Forget it."""
        with self._folder.locked():
            self._folder.write(self._folder.read().model_copy(update={"promotion": None}))


def _state(state: str, server: Server | None) -> str:
    return f"{state} (process {server.pid}, port {server.port})" if server else state


def _counted(measured: Mapping[str, Any]) -> str:
    if not measured:
        return ""
    counts = ", ".join(f"{count} x {status}" for status, count in measured["statuses"].items())
    if measured["p50_ms"] is None:
        return counts
    return f"{counts}; p50 {measured['p50_ms']:.0f} ms, p95 {measured['p95_ms']:.0f} ms"
