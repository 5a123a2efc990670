"""An endpoint of this machine from its first process to the last one that is gone."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from components.core.deployment.endpoints.front import HEALTH_PATH, KEY_PATH
from components.core.deployment.endpoints.keys import (
    Which,
    internal_folder,
    make_internal_key,
    make_keys,
    rotate_key,
)
from components.core.deployment.endpoints.processes import (
    KEYS_VARIABLE,
    end_family,
    is_promoting,
    refuse_while_promoting,
    strays,
    unused_port,
    wait_until_free,
)
from components.core.deployment.endpoints.record import (
    Deployment,
    DeploymentOptions,
    EndpointFolder,
    EndpointRecord,
    check_name,
    recorded_servers,
)
from components.core.deployment.endpoints.traffic import check_traffic
from components.core.deployment.local_servers import (
    Server,
    ServingError,
    endpoint_environment,
    spawn,
    wait_for,
)
from components.core.deployment.model_access import check_usable
from components.core.errors import ConfigError, StorageError
from components.core.settings import Settings

FRONT_PORT = 8200
"""First port that is tried for a front."""
_DEPLOYMENT_PORT = 8300
_FRONT_MODULE = "components.core.deployment.endpoints.front"
_FRONT = "front"
_FRONT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""The front needs no secret of ours, so it gets none."""
Say = Callable[[str], None]


class Launch(Protocol):
    """Starts the server of a deployment, without waiting for it."""

    def __call__(self, name: str, model: str, port: int, endpoint: EndpointFolder, settings: Settings) -> Server:
        """Start it; its log is `<name>.log` in the endpoint's folder."""


def create_endpoint(
    name: str, settings: Settings, port: int = FRONT_PORT, keep_keys: bool = True
) -> tuple[EndpointRecord, dict[Which, str]]:
    """Start a front without deployments.

    Args:
        name: Of the endpoint.
        settings: Where its folder goes.
        port: Where it listens; the next free one if it is taken.
        keep_keys: So that they can be shown again.

    Returns:
        The record and both keys.

    Raises:
        ConfigError: If there is one of this name.
        ServingError: If it does not start.
    """
    folder = EndpointFolder(settings.whetstone_home, name)
    folder.make()
    try:
        keys = make_keys(folder.path, keep_keys)
        make_internal_key(folder.path)
        record = EndpointRecord(name=name, created=datetime.now(UTC))
        folder.write(record)
        environment = {key: os.environ[key] for key in _FRONT_VARIABLES if key in os.environ}
        with unused_port(settings.whetstone_home, port) as port:
            command = [sys.executable, "-m", _FRONT_MODULE, str(folder.path), str(port)]
            server = spawn(_FRONT, command, environment, port, folder.path)
            record = record.model_copy(update={"front": server})
            folder.write(record)
        wait_for(server, HEALTH_PATH, folder.path, "the front is starting")
    except BaseException:
        delete_endpoint(name, settings, lambda _line: None)
        raise
    return record, keys


def launch_model(name: str, model: str, port: int, endpoint: EndpointFolder, settings: Settings) -> Server:
    """Start our own server on a model."""
    environment = endpoint_environment(
        model, settings.whetstone_home, name=endpoint.name, namespace=settings.namespace
    ) | {KEYS_VARIABLE: str(internal_folder(endpoint.path))}
    for variable in ("API_KEY", "API_KEY_PRIMARY", "API_KEY_SECONDARY"):
        environment.pop(variable, None)
    command = [sys.executable, "-m", "llm_endpoint", "--port", str(port)]
    return spawn(name, command, environment, port, endpoint.path)


def deploy(
    endpoint: str,
    name: str,
    model: str,
    settings: Settings,
    options: DeploymentOptions | None = None,
    launch: Launch = launch_model,
) -> Deployment:
    """Start a model behind an endpoint and wait until it is ready; it gets no traffic yet.

    Args:
        endpoint: Its name.
        name: Of the deployment.
        model: Folder or Hub id.
        settings: Folders and the namespace that must be allowed to use the model.
        options: Timeouts.
        launch: Starts its server.

    Raises:
        ConfigError: If the endpoint is not there, the name is taken or the model is not a model.
        RegistryError: If the model is restricted to another namespace.
        ServingError: With the server's own last words, if it does not start.
    """
    check_name(name, "a deployment")
    if name == _FRONT:
        raise ConfigError(
            "a deployment cannot be called front, which is the endpoint's own process. Choose another name."
        )
    folder = EndpointFolder(settings.whetstone_home, endpoint)
    options = options or DeploymentOptions()
    served = _served_model(model, settings)
    with folder.locked():
        record = folder.read()
        if any(each.name == name for each in record.deployments):
            raise ConfigError(
                f"the endpoint {endpoint} has a deployment {name} already. Choose another name, or remove it: "
                f"python -m llm-pipelines.endpoint delete {endpoint} --deployment {name}"
            )
        with unused_port(settings.whetstone_home, _DEPLOYMENT_PORT) as port:
            server = launch(name, served, port, folder, settings)
            deployment = Deployment(
                name=name, model=served, server=server, state="starting", options=options, deployed=datetime.now(UTC)
            )
            # recorded before it is waited for: whatever happens to us, `status` and `delete` know of it
            folder.write(record.with_deployment(deployment))
    try:
        patience = float(options.liveness_initial_delay_seconds)
        wait_for(server, "/readyz", folder.path, "the model is being loaded", patience)
    except BaseException:
        # the endpoint may have been deleted meanwhile
        with contextlib.suppress(ConfigError):
            remove_deployment(endpoint, name, settings)
        raise
    ready = deployment.model_copy(update={"state": "ready"})
    with folder.locked():
        folder.write(folder.read().with_deployment(ready))
    return ready


def _served_model(model: str, settings: Settings) -> str:
    if model.startswith("pvc://"):
        raise ConfigError(
            f"{model} is a volume of a cluster; this endpoint is on this machine. Name a folder or Hub id."
        )
    if Path(model).is_dir():
        model = str(Path(model).resolve())
    elif Path(model).is_absolute() or model.startswith("."):
        raise ConfigError(f"there is no model folder {model}. Name the folder that was published, or a Hub id.")
    check_usable(model, settings, settings.namespace)
    return model


def set_traffic(endpoint: str, shares: Mapping[str, int], settings: Settings) -> EndpointRecord:
    """Set how the traffic is split, from the next request on.

    Raises:
        ConfigError: If a name is not there or not ready, or the shares do not sum to 100.
    """
    folder = EndpointFolder(settings.whetstone_home, endpoint)
    with folder.locked():
        record = folder.read()
        refuse_while_promoting(record)
        check_traffic(shares, [each.name for each in record.deployments])
        waiting = [name for name, share in shares.items() if share and record.find(name).state != "ready"]
        if waiting:
            raise ConfigError(f"{', '.join(waiting)} is still starting. Wait until `status` says that it is ready.")
        kept = {name: share for name, share in shares.items() if share}
        # what is set by hand also settles what a killed promotion has left
        promotion = record.promotion if is_promoting(record) else None
        changed = record.model_copy(update={"traffic": kept, "promotion": promotion})
        folder.write(changed)
    return changed


def remove_deployment(endpoint: str, name: str, settings: Settings) -> None:
    """End a deployment that gets no traffic.

    Raises:
        ConfigError: If it is not there, or gets traffic.
    """
    folder = EndpointFolder(settings.whetstone_home, endpoint)
    with folder.locked():
        record = folder.read()
        refuse_while_promoting(record)
        deployment = record.find(name)
        if record.traffic.get(name):
            raise ConfigError(
                f"{name} gets {record.traffic[name]} % of the traffic. Give it to others first: "
                f"python -m llm-pipelines.endpoint traffic {endpoint} ..."
            )
        # out of the record first, so that the front sends it nothing more while it ends
        others = [each for each in record.deployments if each.name != name]
        folder.write(record.model_copy(update={"deployments": others}))
    end_family(deployment.server)
    if not wait_until_free(deployment.server.port):
        raise ServingError(f"port {deployment.server.port} of {name} is still taken, by a process that is not ours.")


def rotate_and_try(endpoint: str, which: Which, settings: Settings) -> str:
    """Replace one key, and ask the front with it.

    Raises:
        ConfigError: If there is no such endpoint.
        ServingError: If the front does not take the new key.
    """
    import httpx

    folder = EndpointFolder(settings.whetstone_home, endpoint)
    with folder.locked():
        record = folder.read()
        key = rotate_key(folder.path, which)
    said = f"the {which} key of {endpoint} is replaced (`keys show`), but its front does not"
    if record.front is None:
        raise ServingError(f"{said} run. Look at `status`.")
    try:
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.get(record.front.address + KEY_PATH, headers=headers, timeout=10.0, trust_env=False)
    except httpx.HTTPError as error:
        raise ServingError(f"{said} answer ({error}). Look at `status`.") from error
    if answer.status_code != 200 or answer.json().get("key") != which:
        raise ServingError(f"{said} take it ({answer.status_code}). Look at front.log in {folder.path}.")
    return key


def delete_endpoint(name: str, settings: Settings, say: Say = print) -> None:
    """End every process of an endpoint and remove its folder with the keys; returns when all of it is gone.

    Raises:
        ConfigError: If there is no such endpoint.
        ServingError: If a port is still taken; the folder is gone all the same.
    """
    folder = EndpointFolder(settings.whetstone_home, name)
    with folder.locked():
        say(f"Deleting {name}")
        servers: list[Server] = []
        # a creation or a removal that was cut off has no record any more, or not yet
        with contextlib.suppress(StorageError):
            servers = recorded_servers(folder.read())
        # the front first: nobody is sent to a deployment that ends
        for server in servers:
            was = "ended" if end_family(server) else "had ended already"
            say(f"  {server.name:<12} process {server.pid} {was}")
        for stray in strays(folder.path, internal_folder(folder.path)):
            end_family(stray)
            say(f"  {'unrecorded':<12} process {stray.pid} ended")
        folder.remove()
    say(f"  {'keys':<12} and records removed")
    taken = [f"{server.port} ({server.name})" for server in servers if not wait_until_free(server.port)]
    if taken:
        raise ServingError(f"somebody else listens on port {', '.join(taken)} by now; nothing of {name} is left.")
