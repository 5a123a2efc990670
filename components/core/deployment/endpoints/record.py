"""What is known about an endpoint of this machine, in a folder that only its owner reads."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.core.deployment.local_servers import Server
from components.core.errors import ConfigError, StorageError

RECORD_FILE = "endpoint.json"
_LOCK_FILE = "lock"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")


class Kept(BaseModel):
    """Base of what is kept: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DeploymentOptions(Kept):
    """How a deployment is started and asked."""

    request_timeout_ms: Annotated[int, Field(ge=1)] = 90_000
    """From the arrival of a request to the last byte of its answer."""
    liveness_initial_delay_seconds: Annotated[int, Field(ge=1)] = 600
    """How long a model may take to load before it counts as dead."""
    instances: Annotated[int, Field(ge=1)] = 1
    """Processes of a deployment; on this machine one."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Of each instance; on a cluster alone."""
    gpu_product: str | None = None
    """Label `nvidia.com/gpu.product` of the nodes; none takes any that the model may use."""


class Deployment(Kept):
    """One model behind the front."""

    name: str
    model: str
    """Folder or Hub id."""
    server: Server
    state: Literal["starting", "ready"]
    options: DeploymentOptions
    deployed: datetime


class Promotion(Kept):
    """A promotion that goes on, or that was cut off."""

    candidate: str
    former: dict[str, int]
    """The split to go back to."""
    pid: int
    created: float
    """Start of the process that promotes."""


class EndpointRecord(Kept):
    """One endpoint; holds no key."""

    format: Literal[1] = 1
    name: str
    created: datetime
    front: Server | None = None
    deployments: list[Deployment] = []
    traffic: dict[str, int] = {}
    """Percent by deployment; those that are not named get none."""
    promotion: Promotion | None = None

    def find(self, name: str) -> Deployment:
        """A deployment.

        Raises:
            ConfigError: If there is none of this name.
        """
        return find_deployment(self.name, self.deployments, name)

    def with_deployment(self, deployment: Deployment) -> "EndpointRecord":
        """The same with one deployment added or replaced."""
        others = [each for each in self.deployments if each.name != deployment.name]
        return self.model_copy(update={"deployments": [*others, deployment]})


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Found = TypeVar("Found", bound=_Named)


def find_deployment(endpoint: str, deployments: Sequence[Found], name: str) -> Found:
    """The deployment of a name.

    Raises:
        ConfigError: If there is none; the message says which there are.
    """
    found = next((each for each in deployments if each.name == name), None)
    if found is None:
        there = ", ".join(each.name for each in deployments) or "none"
        raise ConfigError(f"the endpoint {endpoint} has no deployment {name} (it has: {there}).")
    return found


def check_name(name: str, what: str) -> str:
    """Give a name back if an endpoint or a deployment may have it.

    Raises:
        ConfigError: If not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of {what}. Use lower case letters, digits and hyphens, a letter first, "
            "at most 48 of them."
        )
    return name


def default_name() -> str:
    """`ultrachat-completion-<timestamp>`, to the second."""
    return f"ultrachat-completion-{datetime.now(UTC):%Y%m%d%H%M%S}"


class EndpointFolder:
    """The folder of one endpoint: `<home>/serving/managed/<name>/`.

    Args:
        home: `whetstone_home`.
        name: Of the endpoint.
    """

    def __init__(self, home: Path, name: str) -> None:
        self.name = check_name(name, "an endpoint")
        self.path = managed_folder(home) / name

    def make(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: If an endpoint of this name is there.
            StorageError: If it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o700)
        except FileExistsError as error:
            raise ConfigError(
                f"there is an endpoint {self.name} already. Choose another name, or delete it: "
                f"python -m llm-pipelines.endpoint delete {self.name}"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot write into {self.path.parent}: {error}.") from error

    def read(self) -> EndpointRecord:
        """The record.

        Raises:
            ConfigError: If there is no such endpoint.
            StorageError: If the record is damaged.
        """
        self.check_there()
        path = self.path / RECORD_FILE
        try:
            return EndpointRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StorageError(
                f"{path} is missing or damaged. End its processes by hand, then: "
                f"python -m llm-pipelines.endpoint delete {self.name}"
            ) from error

    def check_there(self) -> None:
        """Raise ConfigError if there is no such endpoint."""
        if not self.path.is_dir():
            there = ", ".join(endpoint_names(self.path.parents[2])) or "none"
            raise ConfigError(f"there is no endpoint {self.name} on this machine (there are: {there}).")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the record meanwhile."""
        self.check_there()
        try:
            lock = (self.path / _LOCK_FILE).open("w")
        except OSError as error:
            raise StorageError(f"cannot write into {self.path}: {error}.") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # it may have been deleted while we waited
            self.check_there()
            yield

    def write(self, record: EndpointRecord) -> None:
        """Replace the record in one step; the front reads it at its next request."""
        write_private(self.path / RECORD_FILE, record.model_dump_json(indent=2) + "\n")

    def remove(self) -> None:
        """Remove the folder, the record last: a removal that was cut off can be repeated."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (RECORD_FILE, _LOCK_FILE):
                path.unlink()
        shutil.rmtree(self.path)


def recorded_servers(record: EndpointRecord) -> list[Server]:
    """The front and the servers of all deployments, in this order."""
    return [*([record.front] if record.front else []), *(each.server for each in record.deployments)]


def managed_folder(home: Path) -> Path:
    """Where the folders of all endpoints are."""
    return home.resolve() / "serving" / "managed"


def endpoint_names(home: Path) -> list[str]:
    """All endpoints of this machine, by name."""
    folder = managed_folder(home)
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error}.") from error
